// A room with hundreds of people in it, and with names that do not behave.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeConnections, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, hostOf, rowOf, startBrowser } from './people.mjs';

const STORY_MS = 60_000;
const NAMED = 500;
const ALL = 812;
const RIGHT_TO_LEFT = '\u202E';

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

/**
 * Somebody whose server speaks of another room than there is. To register hundreds of people would take minutes.
 * @param {import('../support/api.mjs').User} user
 * @param {string} path
 * @param {(state: any) => any} change a room's state
 */
async function arriveAt(user, path, change) {
  const who = await arrive(browser, user);
  /** @type {import('playwright-core').WebSocketRoute | undefined} */
  let socket;
  await who.page.routeWebSocket(/socket\.io/, (page) => {
    socket = page;
    const server = page.connectToServer();
    page.onMessage((message) => server.send(message));
    server.onMessage((message) => page.send(String(message).replace(/^(4[23]\d*)(\[.*)$/s, (_, kind, json) => (
      kind + JSON.stringify(JSON.parse(json, (key, value) => (key === 'room_state' ? change(value) : value)))))));
  });
  await who.page.goto(user.url + path);
  await who.page.waitForSelector(`${byId('room-view')}:visible`);
  return { ...who, says: (/** @type {string} */ event, /** @type {unknown} */ payload) => socket?.send(`42${JSON.stringify([event, payload])}`) };
}

const guest = (/** @type {number} */ number) => ({ user_id: `user_${number}`, username: `guest.${String(number).padStart(3, '0')}` });

describe('a crowd', { timeout: 3 * STORY_MS }, () => {
  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    closeConnections();
    await browser?.close();
    await tutti?.stop();
  });

  test('everybody who is named can be found, and all are counted', { timeout: STORY_MS }, async (t) => {
    const room = await hostOf(tutti.url, 'lee');
    const kay = await newUser(tutti.url, 'kay', { username: 'kay' });
    const who = await arriveAt(kay, room.path, (state) => {
      const members = [...state.members, ...Array.from({ length: NAMED - state.members.length }, (_, index) => guest(index))];
      return { ...state, members, participants: members.map(({ user_id: id }) => id), participant_count: ALL };
    });
    const { page } = who;
    const rows = page.locator(byId('participant'));
    assert.equal(await page.textContent('#people-title'), `${ALL} together`);
    assert.equal(await rows.count(), NAMED);
    assert.equal(await page.textContent(byId('people-rest')), `and ${ALL - NAMED} more`);
    assert.equal(await page.locator('.seat').last().textContent(), `+${ALL - 8}`);

    /** Whom the server would find, of all. @type {string[]} */
    const asked = [];
    await page.route('**/members?*', (route) => {
      const q = new URL(route.request().url()).searchParams.get('q') ?? '';
      asked.push(q);
      const members = Array.from({ length: ALL }, (_, number) => guest(number)).filter(({ username }) => username.includes(q.toLowerCase()));
      return route.fulfill({ json: { members, participant_count: ALL, next_cursor: null } });
    });
    await page.fill(byId('people-search'), 'GUEST.49');
    await page.waitForFunction((count) => document.querySelectorAll('[data-testid="participant"]').length === count, 10);
    await page.waitForSelector(`${byId('people-note')}:text-is("10 found.")`);
    await page.fill(byId('people-search'), 'guest.777');
    await page.waitForSelector(rowOf('participant', 'guest.777'));
    assert.deepEqual(asked, ['GUEST.49', 'guest.777']);
    await page.fill(byId('people-search'), 'nobody of this name');
    await page.waitForFunction(() => !document.querySelector('[data-testid="participant"]'));
    await page.waitForSelector(`${byId('people-note')}:text-is("Nobody of that name is in the room.")`);
    // Whoever was found by name and leaves is found no longer.
    await page.fill(byId('people-search'), 'guest.777');
    await page.waitForSelector(rowOf('participant', 'guest.777'));
    who.says('user_left', { ...guest(777), room_id: room.id, participant_count: ALL - 1, timestamp: new Date().toISOString() });
    await page.waitForSelector(rowOf('participant', 'guest.777'), { state: 'detached' });
    who.says('user_joined', { ...guest(777), room_id: room.id, participant_count: ALL, timestamp: new Date().toISOString() });
    await page.keyboard.press('Escape');
    await page.waitForSelector(rowOf('participant', 'guest.497'));

    // One who comes or goes costs a row, not all of them.
    await page.evaluate(() => {
      let touched = 0;
      const list = /** @type {Element} */ (document.querySelector('[data-testid="participants"]'));
      new MutationObserver((changes) => { touched += changes.length; }).observe(list, { childList: true, subtree: true, attributes: true, characterData: true });
      Object.assign(window, { touched: () => touched });
    });
    const presence = (/** @type {number} */ number) => ({ ...guest(number), room_id: room.id, participant_count: ALL, timestamp: new Date().toISOString() });
    const began = performance.now();
    for (let number = 0; number < 100; number += 1) {
      who.says('user_left', presence(number));
      who.says('user_joined', presence(1000 + number));
    }
    await page.waitForSelector(rowOf('participant', 'guest.1099'));
    t.diagnostic(`200 came and went within ${Math.round(performance.now() - began)} ms`);
    const touched = await page.evaluate(() => /** @type {any} */ (window).touched());
    assert.ok(touched < 200 * 10, `${touched} changes of the list for 200 people`);

    await page.click(byId('people-more'));
    await page.waitForSelector(byId('people-more'), { state: 'hidden' });
    assert.equal(await rows.count(), ALL);

    await page.click(byId('nav-rooms'));
    await page.waitForFunction((rest) => document.querySelector('[data-testid="own-room"]')?.textContent?.includes(`lee and ${rest} more`), ALL - 1);
    assert.deepEqual(who.faults, []);
  });

  test('no name reorders the page', { timeout: STORY_MS }, async () => {
    const room = await hostOf(tutti.url, 'max');
    const nia = await newUser(tutti.url, 'nia', { username: 'nia' });
    const song = { title: `${RIGHT_TO_LEFT}3pm.song`, artists: [`one${RIGHT_TO_LEFT}`, 'two'], audio_url: '/tracks/window-seat.opus' };
    const who = await arriveAt(nia, room.path, (state) => ({
      ...state, name: `Party${RIGHT_TO_LEFT}gnp.exe`, current_song: song,
      members: state.members.map((/** @type {any} */ member) => (member.username === 'max' ? { ...member, username: 'שלום' } : member)),
    }));
    const { page } = who;
    await page.waitForFunction(() => document.querySelector('[data-testid="song-title"]')?.textContent === '3pm.song');
    assert.equal(await page.textContent(byId('room-title')), 'Partygnp.exe');
    assert.equal(await page.title(), 'Partygnp.exe · Tutti');
    // A name of another direction keeps to itself.
    assert.match(await page.textContent(byId('host-hint')) ?? '', /^\u2068שלום\u2069 leads: play/);
    assert.equal(await page.getAttribute(`${rowOf('participant', 'שלום')} strong`, 'dir'), 'auto');
    const leaks = await page.evaluate(() => [...document.querySelectorAll('*')].flatMap((element) => (
      [...element.attributes].map(({ value }) => value).concat(...[...element.childNodes].map((node) => node.nodeType === Node.TEXT_NODE ? node.data : ''))
    )).filter((text) => /[\u202A-\u202E]/.test(text)));
    assert.deepEqual(leaks, []);
    assert.deepEqual(who.faults, []);
  });

  test('a room that is called by blanks is called after its host', { timeout: STORY_MS }, async () => {
    const room = await hostOf(tutti.url, 'oki');
    const pia = await newUser(tutti.url, 'pia', { username: 'pia' });
    const { page, faults } = await arriveAt(pia, room.path, (state) => ({ ...state, name: '\u200B \u3164\u2800' }));
    assert.equal(await page.textContent(byId('room-title')), 'oki’s room');
    assert.deepEqual(faults, []);
  });
});
