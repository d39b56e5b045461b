// A room of so many people that the server does not name all of them, with all of them in it. What such a page costs: crowd.test.mjs.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createRoom, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, rowOf, startBrowser } from './people.mjs';

const STORY_MS = 120_000;
/** More than the 500 whom the server names in a room's state. */
const CROWD = 505;
/** How many of them do something at once. */
const AT_ONCE = 8;

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

/** @param {number} number */
const fan = (number) => `fan${String(number).padStart(3, '0')}`;

/** @template T @param {T[]} items @param {(item: T) => Promise<unknown>} work */
async function withEach(items, work) {
  const queue = [...items];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  }));
}

describe('a room of many people', { timeout: STORY_MS }, () => {
  before(async () => {
    // Nobody's page is open but one: the others would be gone after the usual grace.
    tutti = await startTutti({ env: { ...unlimited, PRESENCE_GRACE: '600s' } });
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  test('everybody in a crowded room is counted, found and listed', { timeout: STORY_MS }, async () => {
    const host = await newUser(tutti.url, 'hester', { username: 'hester' });
    const room = await createRoom(host, { name: 'Stadium', is_friends_only: false });
    /** @type {import('../support/api.mjs').User[]} */
    const fans = [];
    const comes = async (/** @type {number} */ number) => {
      const user = await newUser(tutti.url, fan(number), { username: fan(number) });
      const { status, text } = await user.post('/api/v1/rooms/join', { room_id: room.room_id });
      assert.equal(status, 200, text);
      fans[number] = user;
    };
    const numbers = Array.from({ length: CROWD - 1 }, (_, index) => index + 1);
    await withEach(numbers.slice(0, -4), comes);
    // The last ones in order, so that it is known whom the server does not name.
    for (const number of numbers.slice(-4)) await comes(number);

    const who = await arrive(browser, host, `/room/${room.room_id}`);
    const { page } = who;
    await page.waitForSelector(`${byId('room-view')}:visible`);
    const words = (/** @type {string} */ selector, /** @type {string} */ wanted) => page.waitForFunction(
      ([where, text]) => document.querySelector(where)?.textContent === text, [selector, wanted]);
    await words('#people-title', `${CROWD} together`);
    await words(byId('people-rest'), 'and 5 more');
    assert.equal(await page.locator(byId('participant')).count(), 500);
    assert.equal(await page.textContent('.seat:last-child'), `+${CROWD - 8}`);

    // The host's page keeps up with those who come and go.
    await fans[1].post(`/api/v1/rooms/${room.room_id}/leave`);
    await words('#people-title', `${CROWD - 1} together`);
    await fans[1].post('/api/v1/rooms/join', { room_id: room.room_id });
    await words('#people-title', `${CROWD} together`);

    // Somebody the room's state does not name is found, and may be made host.
    const last = fan(CROWD - 2);
    assert.equal(await page.locator(rowOf('participant', last)).count(), 0);
    await page.fill(byId('people-search'), last.toUpperCase());
    await page.waitForSelector(rowOf('participant', last));
    await words(byId('people-note'), '1 found.');
    assert.ok(await page.isVisible(`${rowOf('participant', last)} ${byId('make-host')}`));
    await page.fill(byId('people-search'), 'nobody-of-this-name');
    await words(byId('people-note'), 'Nobody of that name is in the room.');
    await page.press(byId('people-search'), 'Escape');

    // Its first page has the 500 who are named, its second one the others.
    await page.click(byId('people-more'));
    await page.waitForSelector(`${byId('people-more')}:not([aria-busy])`, { state: 'attached' });
    if (await page.isVisible(byId('people-more'))) await page.click(byId('people-more'));
    await page.waitForSelector(`${byId('people-more')}`, { state: 'hidden' });
    assert.equal(await page.locator(byId('participant')).count(), CROWD);

    // One of them who leaves is listed no longer.
    await fans[CROWD - 2].post(`/api/v1/rooms/${room.room_id}/leave`);
    await words('#people-title', `${CROWD - 1} together`);
    assert.equal(await page.locator(rowOf('participant', last)).count(), 0);
    await page.click(byId('nav-rooms'));
    await page.waitForFunction((text) => document.querySelector('[data-testid="own-room"] .card-count')?.textContent === text, `hester and ${CROWD - 2} more`);
    assert.deepEqual(who.faults, []);
  });
});
