// What people met on an evening: keys, a phone on its side, a dropped file, a request that was answered, a room left by mistake.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { wavHeader } from '../client/files.mjs';
import { createRoom, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, handOver, isTold, rowOf, startBrowser } from './people.mjs';

const STORY_MS = 60_000;
const SCREENS = { 'a phone on its side': [740, 360], 'a large phone on its side': [932, 430], 'a small phone': [360, 640] };

describe('small things', () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {Awaited<ReturnType<typeof newUser>>} */
  let ann;
  /** @type {Awaited<ReturnType<typeof newUser>>} */
  let bob;

  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
    [ann, bob] = await Promise.all(['ann', 'bob'].map((username) => newUser(tutti.url, username, { username })));
  });
  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  /** Both in a room of ann's, in which a track of the server plays. */
  async function together() {
    const { room_id: roomId } = await createRoom(ann, { is_friends_only: false });
    const host = await arrive(browser, ann, `/room/${roomId}`);
    const guest = await arrive(browser, bob, `/room/${roomId}`);
    await host.page.click(byId('track'));
    for (const { page } of [host, guest]) await page.waitForSelector(`${byId('transport')}[data-moving="true"]`);
    return { host, guest, done: () => Promise.all([host, guest].map(({ page }) => page.context().close())) };
  }

  test('the host leads by keys, and a listener is told who does', { timeout: STORY_MS }, async () => {
    const { host, guest, done } = await together();
    await host.page.focus(byId('room-title'));
    await host.page.keyboard.press('k');
    for (const { page } of [host, guest]) await page.waitForSelector(`${byId('transport')}[data-moving="false"]`);
    const at = Number(await host.page.inputValue(byId('seek')));
    for (let press = 0; press < 4; press += 1) await host.page.keyboard.press('ArrowRight');
    for (const { page } of [host, guest]) {
      await page.waitForFunction(([where, from]) => Number(document.querySelector(where)?.getAttribute('data-heard')) >= Number(from), [byId('transport'), String(at + 20)]);
    }
    await host.page.keyboard.press('Space');
    await guest.page.waitForSelector(`${byId('transport')}[data-moving="true"]`);
    await host.page.keyboard.press('m');
    await host.page.waitForSelector(`${byId('mute')}[aria-pressed="true"]`);
    await guest.page.focus(byId('room-title'));
    await guest.page.keyboard.press('Space');
    await isTold(guest, 'ann leads: play, pause and songs are up to them.');
    // What is written is not a command.
    await host.page.focus(byId('song-link'));
    await host.page.keyboard.type('k m');
    assert.equal(await host.page.inputValue(byId('song-link')), 'k m');
    await guest.page.waitForSelector(`${byId('transport')}[data-moving="true"]`);
    assert.equal(await host.page.getAttribute(byId('mute'), 'aria-pressed'), 'true');
    await done();
  });

  test('a song lasts as long wherever it is named', { timeout: STORY_MS }, async () => {
    const { host, guest, done } = await together();
    const listed = await host.page.textContent(`${byId('track')} >> nth=0 >> .time`);
    for (const { page } of [host, guest]) assert.equal(await page.textContent(byId('time-total')), listed);
    await done();
  });

  test('a song from a link is called what its tags call it, by everybody', { timeout: STORY_MS }, async () => {
    const { host, guest, done } = await together();
    const song = Buffer.concat([wavHeader(8000, 1, 44 + 16_000), Buffer.alloc(16_000), Buffer.from('LIST\x14\0\0\0INFOINAM\x08\0\0\0Nachtzug')]);
    for (const { page } of [host, guest]) await page.route('**/01%20track.wav', (route) => route.fulfill({ contentType: 'audio/wav', body: song }));
    await host.page.fill(byId('song-link'), `${tutti.url}/01%20track.wav`);
    await host.page.click(byId('play-link'));
    for (const { page } of [host, guest]) await page.locator(byId('song-title')).filter({ hasText: 'Nachtzug' }).waitFor();
    await done();
  });

  test('all that steers the music is in sight on every phone', { timeout: STORY_MS }, async () => {
    const { host, done } = await together();
    for (const [name, [width, height]] of Object.entries(SCREENS)) {
      await host.page.setViewportSize({ width, height });
      await host.page.waitForSelector(byId('toast'), { state: 'detached' });
      for (const id of ['song-title', 'seek', 'play-pause', 'mute', 'sync-offset']) {
        const box = await host.page.locator(byId(id)).boundingBox();
        // Nothing lies over it either.
        const seen = await host.page.locator(byId(id)).evaluate((element) => {
          const { x, y, width: wide, height: high } = element.getBoundingClientRect();
          const top = document.elementFromPoint(x + wide / 2, y + high / 2);
          return top !== null && (element.contains(top) || top.contains(element));
        });
        assert.ok(seen, `${id} on ${name} is covered`);
        assert.ok(box && box.y >= 0 && box.y + box.height <= height && box.x >= 0 && box.x + box.width <= width, `${id} on ${name}: ${JSON.stringify(box)}`);
      }
    }
    await done();
  });

  test('a file or a link that is dropped does not take the page’s place', { timeout: STORY_MS }, async (t) => {
    const { host: { page }, done } = await together();
    const folder = mkdtempSync(join(tmpdir(), 'tutti-drop.'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'song.html');
    writeFileSync(file, '<h1>Out of the room</h1>');
    const devtools = await page.context().newCDPSession(page);
    /** As a hand does, from another program. @param {string} id where @param {object} data */
    const drop = async (id, data) => {
      await page.locator(byId(id)).scrollIntoViewIfNeeded();
      const box = await page.locator(byId(id)).boundingBox();
      assert.ok(box);
      const at = { x: box.x + box.width / 2, y: box.y + box.height / 2, data: { items: [], dragOperationsMask: 1, ...data } };
      for (const type of /** @type {const} */ (['dragEnter', 'dragOver', 'drop'])) await devtools.send('Input.dispatchDragEvent', { type, ...at });
    };
    const link = `${tutti.url}/tracks/a.opus`;
    const asLink = { items: ['text/uri-list', 'text/plain'].map((mimeType) => ({ mimeType, data: link })) };
    await drop('room-title', asLink);
    await page.waitForSelector(`${byId('toast-problem')}:has-text("drop or paste it into the field")`);
    await drop('song-link', asLink);
    await page.waitForFunction(([where, text]) => /** @type {HTMLInputElement} */ (document.querySelector(where)).value === text, [byId('song-link'), link]);
    await drop('song-link', { files: [file] });
    await page.waitForSelector(`${byId('toast-problem')}:has-text("cannot be played yet")`);
    assert.match(new URL(page.url()).pathname, /^\/room\//);
    await done();
  });

  test('a request that was accepted is no longer one', { timeout: STORY_MS }, async () => {
    const one = await arrive(browser, ann, '/');
    await one.page.fill(byId('friend-search'), 'bob');
    await one.page.click(byId('send-request'));
    const state = one.page.locator(`${byId('search-result')} ${byId('relationship')}`);
    await state.filter({ hasText: 'Asked' }).waitFor();
    const { body: { requests } } = await bob.get('/api/v1/friends/requests?type=received');
    await bob.post('/api/v1/friends/accept', { request_id: requests[0].request_id });
    await state.filter({ hasText: 'Friend' }).waitFor();
    await one.page.context().close();
  });

  test('who would leave others for another room, or give the lead away, is asked', { timeout: STORY_MS }, async () => {
    const { host, guest, done } = await together();
    const { page } = host;
    await page.click(byId('nav-rooms'));
    await page.fill(byId('room-name'), 'Elsewhere');
    await page.click(byId('create-room'));
    await page.waitForSelector(byId('confirm'));
    await page.click(byId('confirm-no'));
    // Nothing has changed, nor will anything be opened behind the back.
    await page.waitForSelector(byId('confirm'), { state: 'detached' });
    assert.equal(await page.inputValue(byId('room-name')), 'Elsewhere');
    await page.fill(byId('room-name'), '');
    await page.click(byId('dock'));
    await page.waitForSelector(rowOf('participant', 'bob'));
    await page.click(`${rowOf('participant', 'bob')} ${byId('make-host')}`);
    await page.click(byId('confirm-no'));
    await page.waitForSelector(`${rowOf('participant', 'ann')}[data-host="true"]`);
    await handOver(page, 'bob');
    await guest.page.waitForSelector(`${rowOf('participant', 'bob')}[data-host="true"]`);
    await page.click(byId('nav-rooms'));
    await page.click(byId('create-room'));
    await page.click(byId('confirm-yes'));
    await page.waitForSelector(`${byId('room-view')}:visible`);
    await guest.page.waitForSelector(rowOf('participant', 'ann'), { state: 'detached' });
    assert.deepEqual([...host.faults, ...guest.faults], []);
    await done();
  });
});
