// Around the music: without a mouse, under another name, by a link, and for everybody's eyes.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AxeBuilder } from '@axe-core/playwright';
import { tokenClaims } from '../../static/core/session.js';
import { startTutti, unlimited } from '../support/server.mjs';
import { befriend, byId, handOver, isBetween, logIn, PASSWORD, person, playsPast, register, rowOf, silent, startBrowser } from './people.mjs';

const STORY_MS = 60_000;
/** More than there is on any page. */
const TABS = 60;

/** @typedef {import('./people.mjs').Person} Person */
/** @typedef {import('playwright-core').Page} Page */

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

/** Goes from one thing to the next, as one does without a mouse. @param {Page} page @param {string} id */
async function tabTo(page, id) {
  /** @type {string[]} */
  const passed = [];
  for (let step = 0; step < TABS; step += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.testid ?? '');
    if (at === id) return;
    passed.push(at);
  }
  assert.fail(`the keyboard does not reach ${id}, only ${passed.join(', ')}`);
}

/** @param {Page} page @param {string} id @param {string} text */
async function typeAt(page, id, text) {
  await tabTo(page, id);
  await page.keyboard.type(text);
}

/** What a checker of accessibility finds wrong with the page as it is. @param {Page} page @param {string} where */
async function assertForEverybody(page, where) {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme });
    const { violations, passes } = await new AxeBuilder({ page }).analyze();
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n  ${failureSummary}`));
    assert.deepEqual(found, [], `${where}, ${colorScheme}`);
    assert.ok(passes.length > 10, `${where} was looked at`);
  }
}

/** @param {Page} page */
const storedToken = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('tutti.session') ?? '{}').access_token);

/** @param {Person} who @param {string} username */
async function rename({ page }, username) {
  await page.click(byId('account-open'));
  await page.fill(byId('account-username'), username);
  await page.click(byId('account-save'));
}

describe('around the app', { timeout: 8 * STORY_MS }, () => {
  /** @type {Person[]} */
  const people = [];
  /** @param {string} username @param {string} [path] @param {import('playwright-core').BrowserContextOptions} [options] */
  const arrives = async (username, path = '/', options = {}) => {
    const one = await person(browser, tutti.url + path, username, options);
    people.push(one);
    return one;
  };

  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  test('everything can be done from the keyboard', { timeout: STORY_MS }, async () => {
    const kay = await arrives('kay');
    const { page } = kay;
    await page.waitForSelector(byId('auth-view'));
    await tabTo(page, 'tab-login');
    await page.keyboard.press('ArrowRight');
    await typeAt(page, 'register-username', 'kay');
    await typeAt(page, 'register-email', 'kay@example.org');
    await typeAt(page, 'register-password', PASSWORD);
    await page.keyboard.press('Enter');

    await page.waitForSelector(byId('rooms-view'));
    await typeAt(page, 'room-name', 'No mouse');
    await tabTo(page, 'room-friends-only');
    await page.keyboard.press('Space');
    await tabTo(page, 'room-more');
    await page.keyboard.press('Enter');
    await page.keyboard.type('twelve of 12');
    assert.equal(await page.inputValue(byId('room-max')), '12');
    await tabTo(page, 'create-room');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/room/room_*');
    assert.equal(await page.textContent(byId('room-title')), 'No mouse');
    assert.equal(await page.textContent(byId('room-kind')), 'Open to all');

    await tabTo(page, 'track');
    await page.keyboard.press('Enter');
    await playsPast(kay, 0.5);
    await tabTo(page, 'play-pause');
    await page.keyboard.press('Space');
    await silent(kay);
    await page.keyboard.press('Space');
    await playsPast(kay, 0.5);
    await tabTo(page, 'seek');
    await page.keyboard.press('End');
    for (let back = 0; back < 3; back += 1) await page.keyboard.press('PageDown');
    await playsPast(kay, 30);
    await page.keyboard.press('Home');
    await isBetween(kay, 0, 10);

    await tabTo(page, 'close-room');
    await page.keyboard.press('Enter');
    await page.waitForSelector(byId('confirm'));
    await page.keyboard.press('Escape');
    await page.waitForSelector(byId('confirm'), { state: 'detached' });
    await tabTo(page, 'leave-room');
    await page.keyboard.press('Enter');
    await page.waitForSelector(`${byId('rooms-view')}:visible`);

    await tabTo(page, 'account-open');
    await page.keyboard.press('Enter');
    await page.waitForSelector(byId('account'));
    assert.equal(await page.textContent(byId('account-email')), 'kay@example.org');
    await page.keyboard.press('Escape');
    await page.waitForSelector(byId('account'), { state: 'detached' });
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).dataset.testid), 'theme-toggle', 'back where it was');
  });

  test('a friend of a friend has a name', { timeout: STORY_MS }, async () => {
    const [ann, bob, cleo] = await Promise.all([arrives('ann'), arrives('bob'), arrives('cleo')]);
    for (const one of [ann, bob, cleo]) await register(one);
    await befriend(ann, bob);
    await befriend(ann, cleo);
    await ann.page.click(byId('create-room'));
    await ann.page.waitForURL('**/room/room_*');

    await bob.page.click(`${rowOf('friend', 'ann')} ${byId('join-friend')}`);
    await bob.page.waitForSelector(rowOf('participant', 'ann'));
    // To her, bob was there before, and no friend.
    await cleo.page.click(`${rowOf('friend', 'ann')} ${byId('join-friend')}`);
    await cleo.page.waitForSelector(rowOf('participant', 'bob'));
    await bob.page.waitForSelector(rowOf('participant', 'cleo'));

    // Nor does he who leads need to be one, for a room to be named after him.
    await handOver(ann.page, 'bob');
    await cleo.page.waitForSelector(`${rowOf('participant', 'bob')}[data-host="true"]`);
    await cleo.page.click(byId('nav-rooms'));
    await cleo.page.waitForFunction(() => /bob’s room.*bob and 2 more/s.test(document.querySelector('[data-testid="own-room"]')?.textContent ?? ''));
    await cleo.page.evaluate(() => sessionStorage.clear());
    await cleo.page.reload();
    await cleo.page.waitForFunction(() => /bob’s room/.test(document.querySelector('[data-testid="own-room"]')?.textContent ?? ''));
  });

  test('who takes another name is known by it at once', { timeout: STORY_MS }, async () => {
    const [dora, emil] = await Promise.all([arrives('dora'), arrives('emil')]);
    for (const one of [dora, emil]) await register(one);
    await befriend(dora, emil);
    const { page } = dora;
    const before = await storedToken(page);

    await rename(dora, 'emil');
    await page.waitForSelector(`${byId('account-username-error')}:not(:empty)`);
    assert.match(await page.textContent(byId('account-username-error')) ?? '', /taken/);
    await page.fill(byId('account-username'), 'd');
    await page.click(byId('account-save'));
    await page.waitForFunction(() => /3 to 32/.test(document.querySelector('[data-testid="account-username-error"]')?.textContent ?? ''));
    await page.fill(byId('account-username'), 'Theodora');
    await page.keyboard.press('Enter');
    await page.waitForSelector(byId('account'), { state: 'detached' });
    assert.equal(await page.textContent(byId('me-username')), 'Theodora');
    assert.match(await page.textContent(byId('greeting')) ?? '', /Theodora\.$/);
    const after = await storedToken(page);
    assert.notEqual(after, before);
    assert.equal(tokenClaims(after)?.sub, tokenClaims(before)?.sub);
    await emil.page.waitForSelector(rowOf('friend', 'Theodora'));

    // The name holds in the rooms they meet in, and over a reload.
    await page.click(byId('create-room'));
    await page.waitForURL('**/room/room_*');
    await emil.page.click(`${rowOf('friend', 'Theodora')} ${byId('join-friend')}`);
    await emil.page.waitForSelector(`${rowOf('participant', 'Theodora')}[data-host="true"]`);
    await page.reload();
    await page.waitForSelector(`${rowOf('participant', 'Theodora')}[data-self="true"]`);
    assert.equal(await page.textContent(byId('me-username')), 'Theodora');
  });

  test('a room’s link leads there, by logging in or by a new account', { timeout: STORY_MS }, async () => {
    const [finn, gwen] = await Promise.all([arrives('finn'), arrives('gwen')]);
    for (const one of [finn, gwen]) await register(one);
    await gwen.page.click(byId('logout'));
    await gwen.page.waitForSelector(byId('auth-view'));
    await finn.page.fill(byId('room-name'), 'Come in');
    await finn.page.setChecked(byId('room-friends-only'), false);
    await finn.page.click(byId('create-room'));
    await finn.page.waitForURL('**/room/room_*');
    const path = new URL(finn.page.url()).pathname;

    const hal = await arrives('hal', path);
    await gwen.page.goto(tutti.url + path);
    for (const { page } of [gwen, hal]) await page.waitForSelector(`${byId('invitation')}:visible`);
    await logIn(gwen);
    await register(hal);
    for (const { page } of [gwen, hal]) {
      await page.waitForSelector(`${byId('room-view')}:visible`);
      assert.equal(await page.textContent(byId('room-title')), 'Come in');
      assert.equal(new URL(page.url()).pathname, path);
    }
    await finn.page.waitForSelector(rowOf('participant', 'hal'));
  });

  test('a password is what was typed, in the form as over REST', { timeout: STORY_MS }, async () => {
    const password = '  cafe\u0301 und Tee  ';
    const ned = await arrives('ned');
    const { page } = ned;
    await page.click(byId('tab-register'));
    await page.fill(byId('register-username'), ' ned ');
    await page.fill(byId('register-email'), ' ned@example.org ');
    const passwords = page.locator(byId('register-password'));
    await passwords.fill('Password123!');
    await page.click(byId('register-submit'));
    await page.waitForSelector(`${byId('register-password-error')}:not(:empty)`);
    assert.match(await page.textContent(byId('register-password-error')) ?? '', /Too close to a common password/);
    await passwords.fill(password);
    await page.click(byId('register-submit'));
    await page.waitForSelector(byId('account-open'));

    /** @param {string} login @param {string} typed */
    const logsIn = async (login, typed) => {
      const answer = await fetch(`${tutti.url}/api/v1/auth/login`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ login, password: typed }),
      });
      return answer.status;
    };
    assert.equal(await logsIn('ned', password), 200);
    assert.equal(await logsIn('ned@example.org', password.normalize('NFC')), 200);
    assert.equal(await logsIn('ned', password.trim()), 401);

    const again = await arrives('ned');
    await again.page.fill(byId('login-login'), ' ned ');
    await again.page.fill(byId('login-password'), password.trim());
    await again.page.click(byId('login-submit'));
    await again.page.waitForSelector(`${byId('login-error')}:not(:empty)`);
    await again.page.fill(byId('login-password'), password);
    await again.page.click(byId('login-submit'));
    await again.page.waitForSelector(byId('account-open'));
  });

  test('a room takes as many as it was made for', { timeout: STORY_MS }, async () => {
    const [ida, jo] = await Promise.all([arrives('ida'), arrives('jo.jo')]);
    for (const one of [ida, jo]) await register(one);
    await ida.page.click(byId('room-more'));
    await ida.page.fill(byId('room-max'), '0');
    await ida.page.click(byId('create-room'));
    await ida.page.waitForSelector(`${byId('room-max-error')}:not(:empty)`);
    await ida.page.fill(byId('room-max'), '1');
    await ida.page.setChecked(byId('room-friends-only'), false);
    await ida.page.click(byId('create-room'));
    await ida.page.waitForURL('**/room/room_*');
    await jo.page.goto(ida.page.url());
    await jo.page.waitForSelector(`${byId('invitation-notice')}:visible`);
    assert.match(await jo.page.textContent(byId('notice-title')) ?? '', /^ida’s room is full/);
    assert.match(await jo.page.textContent(byId('notice-text')) ?? '', /^ida leads it/);
    await jo.page.waitForSelector(`${byId('rooms-view')}:visible`);
  });

  test('a picture whose address is none keeps nobody from the sound', { timeout: STORY_MS }, async () => {
    const [kim, liv] = await Promise.all([arrives('kim'), arrives('liv')]);
    // As from a room of an earlier version, which took such an address.
    await liv.page.routeWebSocket(/socket\.io/, (page) => {
      const server = page.connectToServer();
      page.onMessage((message) => server.send(message));
      server.onMessage((message) => page.send(String(message).replaceAll(/"artwork_url":"[^"]*"/g, '"artwork_url":"https://[bad"')));
    });
    await liv.page.goto(`${tutti.url}/`);
    for (const one of [kim, liv]) await register(one);
    await kim.page.setChecked(byId('room-friends-only'), false);
    await kim.page.click(byId('create-room'));
    await kim.page.click(`${byId('track')} >> nth=0`);
    await playsPast(kim, 0.5);
    await liv.page.goto(kim.page.url());
    await playsPast(liv, 1);
    await liv.page.waitForFunction(() => navigator.mediaSession.metadata?.title && navigator.mediaSession.metadata.artwork.length === 0);
    assert.deepEqual(liv.faults, []);
  });

  test('the page’s own files tell it the time', { timeout: STORY_MS }, async () => {
    const page = await browser.newPage();
    await page.goto(tutti.url);
    // Of a client that never connects: no probe of it can have told.
    const { samples, off } = await page.evaluate(async (library) => {
      const { FriendRoomClient } = await import(library);
      const client = new FriendRoomClient('', 'no token');
      let samples = 0;
      const add = client.clock.addSample.bind(client.clock);
      client.clock.addSample = (/** @type {any[]} */ ...sample) => {
        const counted = add(...sample);
        samples += Number(counted);
        return counted;
      };
      client.connect().catch(() => undefined);
      while (samples < 20) await new Promise((resolve) => { setTimeout(resolve, 50); });
      return { samples, off: client.clock.serverNow() - Date.now() };
    }, '/friend-room-client.js');
    assert.ok(samples >= 20, `${samples}`);
    assert.ok(Math.abs(off) < 20, `${off} ms off on one machine`);
    await page.close();
  });

  test('no page has a fault that a checker of accessibility finds', { timeout: 2 * STORY_MS }, async () => {
    const lou = await arrives('lou');
    const max = await arrives('max', '/', { viewport: { width: 390, height: 844 } });
    await assertForEverybody(lou.page, 'logging in');
    await lou.page.click(byId('tab-register'));
    await lou.page.click(byId('register-submit'));
    await lou.page.waitForSelector(`${byId('register-username-error')}:not(:empty)`);
    await assertForEverybody(lou.page, 'a new account, refused');
    for (const one of [lou, max]) await register(one);
    await assertForEverybody(lou.page, 'nobody there yet');

    await max.page.click(byId('nav-friends'));
    await max.page.fill(byId('friend-search'), 'lou');
    await max.page.click(`${rowOf('search-result', 'lou')} ${byId('send-request')}`);
    await max.page.waitForSelector(rowOf('request-sent', 'lou'));
    await assertForEverybody(max.page, 'friends, on a phone');
    await lou.page.waitForSelector(rowOf('request-received', 'max'));
    await assertForEverybody(lou.page, 'friends');
    await lou.page.click(`${rowOf('request-received', 'max')} ${byId('accept-request')}`);
    await lou.page.click(byId('account-open'));
    await assertForEverybody(lou.page, 'the account');
    await lou.page.click(byId('account-close'));

    await lou.page.click(byId('create-room'));
    await lou.page.waitForURL('**/room/room_*');
    await assertForEverybody(lou.page, 'a new room');
    await max.page.click(`${rowOf('friend', 'lou')} ${byId('join-friend')}`);
    await lou.page.waitForSelector(rowOf('participant', 'max'));
    await lou.page.click(`${byId('track')} >> nth=0`);
    await Promise.all([playsPast(lou, 0.5), playsPast(max, 0.5)]);
    await assertForEverybody(lou.page, 'the room of its host');
    await assertForEverybody(max.page, 'the room of a listener, on a phone');
    await max.page.click(byId('nav-rooms'));
    await max.page.waitForSelector(byId('own-room'));
    await assertForEverybody(max.page, 'rooms, on a phone');
    await lou.page.click(byId('nav-rooms'));
    await lou.page.waitForSelector(byId('own-room'));
    await assertForEverybody(lou.page, 'rooms');
  });

  test('no page has broken on the way', () => {
    for (const { username, faults } of people) assert.deepEqual(faults, [], username);
  });
});
