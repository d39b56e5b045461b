// Two friends, and later a third, each in a browser of their own, through the page as people use it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startTutti } from '../support/server.mjs';
import { befriend, byId, handOver, inSync, isBetween, logIn, person, playsPast, register, rowOf, silent, startBrowser } from './people.mjs';

const TOGETHER_S = 0.3;
const STORY_MS = 60_000;

/** @typedef {import('./people.mjs').Person} Person */

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser[]} */
const browsers = [];

/** Somebody with a browser of their own, which can be closed. @param {string} username */
async function alone(username) {
  const browser = await startBrowser();
  browsers.push(browser);
  return person(browser, tutti.url, username);
}

/**
 * Where everybody's sound is, brought to one moment: the machine's clock, read together with it.
 * @param {Person[]} people
 * @returns {Promise<number[]>} seconds, as if all had been read now
 */
async function positions(people) {
  const reads = await Promise.all(people.map(({ page }) => page.evaluate(async () => {
    const { dataset } = /** @type {HTMLElement} */ (document.querySelector('[data-testid="transport"]'));
    const last = dataset.heardAt;
    // What was told before may be from before a start.
    while (dataset.heardAt === last) await new Promise((resolve) => { setTimeout(resolve, 5); });
    const { heard, heardAt, moving } = dataset;
    return { position: Number(heard), at: Number(heardAt), moving: moving === 'true' };
  })));
  const now = Date.now();
  return reads.map(({ position, at, moving }) => position + (moving ? (now - at) / 1000 : 0));
}

/** @param {number[]} values */
const spread = (values) => Math.max(...values) - Math.min(...values);

/** @param {Person[]} people */
async function assertTogether(people) {
  await Promise.all(people.map(inSync));
  const places = await positions(people);
  assert.ok(spread(places) < TOGETHER_S, `they are at ${places.map((place) => place.toFixed(3)).join(', ')} s`);
}

describe('friends listen together in their browsers', { timeout: 4 * STORY_MS }, () => {
  /** @type {Person} */
  let ann;
  /** @type {Person} */
  let bob;
  /** @type {Person} */
  let cleo;
  let link = '';

  before(async () => {
    tutti = await startTutti({ env: { PRESENCE_GRACE: '2s', SOCKET_PING_INTERVAL: '1s', SOCKET_PING_TIMEOUT: '1s' } });
    [ann, bob, cleo] = await Promise.all(['ann', 'bob', 'cleo'].map(alone));
  });

  after(async () => {
    await Promise.all(browsers.map((browser) => browser.close()));
    await tutti?.stop();
  });

  test('a form says what is wrong with which field', { timeout: STORY_MS }, async () => {
    await ann.page.click(byId('tab-register'));
    await ann.page.fill(byId('register-username'), 'a');
    await ann.page.fill(byId('register-email'), 'ann@example.org');
    await ann.page.fill(byId('register-password'), 'short');
    await ann.page.click(byId('register-submit'));
    await ann.page.waitForSelector(`${byId('register-username-error')}:not(:empty)`);
    await ann.page.waitForSelector(`${byId('register-password-error')}:not(:empty)`);
    assert.equal(await ann.page.textContent(byId('register-email-error')), '');
  });

  test('three people register and become friends', { timeout: STORY_MS }, async () => {
    await Promise.all([ann, bob, cleo].map(register));
    await befriend(ann, bob);
    await befriend(ann, cleo);
    await ann.page.waitForSelector(`${rowOf('friend', 'bob')}[data-online="true"]`);
  });

  test('a session outlives the page, and a new tab shares it', { timeout: STORY_MS }, async () => {
    await bob.page.reload();
    await bob.page.waitForSelector(byId('rooms-view'));
    const tab = await bob.page.context().newPage();
    await tab.goto(tutti.url);
    await tab.waitForSelector(byId('rooms-view'));
    await tab.close();
  });

  test('one opens a room for friends, and the other joins with a click', { timeout: STORY_MS }, async () => {
    await ann.page.fill(byId('room-name'), 'Kitchen disco');
    await ann.page.setChecked(byId('room-friends-only'), true);
    await ann.page.click(byId('create-room'));
    await ann.page.waitForURL('**/room/room_*');
    link = ann.page.url();
    await bob.page.click(`${rowOf('friend', 'ann')} ${byId('join-friend')}`);
    await bob.page.waitForSelector(`${byId('room-view')}:visible`);
    assert.equal(await bob.page.textContent(byId('room-title')), 'Kitchen disco');
    assert.equal(bob.page.url(), link);
    await ann.page.waitForSelector(rowOf('participant', 'bob'));
    assert.equal(await bob.page.isDisabled(byId('play-pause')), true);
    assert.match(await bob.page.textContent(byId('host-hint')) ?? '', /^ann leads/);
  });

  test('what one plays, both hear at the same second', { timeout: STORY_MS }, async () => {
    await ann.page.click(`${byId('track')} >> nth=0`);
    await Promise.all([playsPast(ann, 1), playsPast(bob, 1)]);
    assert.equal(await bob.page.textContent(byId('song-title')), await ann.page.textContent(byId('song-title')));
    await assertTogether([ann, bob]);
  });

  test('one who comes late by the link lands where the others are', { timeout: STORY_MS }, async () => {
    await playsPast(ann, 4);
    await cleo.page.click(byId('logout'));
    await cleo.page.waitForSelector(byId('auth-view'));
    await cleo.page.goto(link);
    await cleo.page.waitForSelector(`${byId('invitation')}:visible`);
    await logIn(cleo);
    await playsPast(cleo, 4);
    await assertTogether([ann, bob, cleo]);
  });

  test('a jump takes everybody along', { timeout: STORY_MS }, async () => {
    await ann.page.fill(byId('seek'), '40');
    await Promise.all([ann, bob, cleo].map((who) => playsPast(who, 40)));
    await assertTogether([ann, bob, cleo]);
  });

  test('a pause reaches everybody, at one place', { timeout: STORY_MS }, async () => {
    await ann.page.click(byId('play-pause'));
    await Promise.all([ann, bob, cleo].map(silent));
    const [place] = await positions([ann]);
    await Promise.all([bob, cleo].map((who) => isBetween(who, place - 0.1, place + 0.1)));
  });

  test('a song that is not there is said in words, and the next one plays', { timeout: STORY_MS }, async () => {
    await ann.page.fill(byId('song-link'), '/tracks/nothing-here.opus');
    await ann.page.click(byId('play-link'));
    for (const { page } of [ann, bob]) await page.waitForSelector(`${byId('song-error')}:not(:empty)`);
    await ann.page.click(`${byId('track')} >> nth=1`);
    await Promise.all([ann, bob, cleo].map((who) => playsPast(who, 1)));
    for (const { page } of [ann, bob]) assert.equal(await page.textContent(byId('song-error')), '');
    await assertTogether([ann, bob, cleo]);
  });

  test('when the host closes the browser, another leads on from there', { timeout: STORY_MS }, async () => {
    const [left] = await positions([ann]);
    await ann.browser.close();
    await bob.page.waitForSelector(`${rowOf('participant', 'bob')}[data-host="true"]`);
    // Nobody has stopped anything: the music has gone on without its host.
    await playsPast(bob, left);
    await assertTogether([bob, cleo]);
    await bob.page.click(byId('play-pause'));
    await Promise.all([bob, cleo].map(silent));
    await bob.page.click(byId('play-pause'));
    await Promise.all([bob, cleo].map((who) => playsPast(who, left)));
    await assertTogether([bob, cleo]);
  });

  test('the host gives the lead away, and leaves', { timeout: STORY_MS }, async () => {
    await handOver(bob.page, 'cleo');
    await cleo.page.waitForSelector(`${rowOf('participant', 'cleo')}[data-host="true"]`);
    await bob.page.waitForSelector(`${byId('play-pause')}:disabled`);
    await bob.page.click(byId('leave-room'));
    await bob.page.waitForSelector(`${byId('rooms-view')}:visible`);
    await cleo.page.waitForSelector(rowOf('participant', 'bob'), { state: 'detached' });
    await cleo.page.click(byId('close-room'));
    await cleo.page.click(byId('confirm-yes'));
    await cleo.page.waitForSelector(`${byId('rooms-view')}:visible`);
  });

  test('no page has broken on the way', () => {
    for (const { username, faults } of [ann, bob, cleo]) assert.deepEqual(faults, [], username);
  });
});
