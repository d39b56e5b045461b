// Without a mouse, and without seeing the page: what is read out, where the focus is, and what stands out.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import { FriendRoomClient } from '../../static/friend-room-client.js';
import { ask, befriend, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, focusIsOn, isTold, logIn, newsOf, PASSWORD, rowOf, startBrowser } from './people.mjs';
import { edgeContrast, sliderContrasts } from './seen.mjs';

const STORY_MS = 90_000;
const ENOUGH = 3;

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('../support/api.mjs').User} User */

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {FriendRoomClient[]} */
const clients = [];

/** @param {string} username */
const signUp = (username) => newUser(tutti.url, username, { username, password: PASSWORD });

/** Somebody who is there without a page. @param {User} user */
async function comesOnline(user) {
  const client = new FriendRoomClient(tutti.url, user.session, { io });
  clients.push(client);
  await client.connect();
  return client;
}

/** From the keyboard. @param {Page} page @param {string} selector */
async function press(page, selector) {
  const control = page.locator(selector).first();
  await control.waitFor();
  await control.focus();
  await page.keyboard.press('Enter');
}

describe('for everybody', { timeout: 4 * STORY_MS }, () => {
  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    for (const client of clients) client.disconnect();
    await browser?.close();
    await tutti?.stop();
  });

  test('every action says that it is done, and leaves the focus near', { timeout: STORY_MS }, async () => {
    const [ann, bea, cid, dan, eve] = await Promise.all(['ann', 'bea', 'cid', 'dan', 'eve'].map(signUp));
    await ask(bea, ann);
    await ask(cid, ann);
    await ask(dan, ann);
    const who = await arrive(browser, ann);
    const { page } = who;
    const rowButton = (/** @type {string} */ row, /** @type {string} */ name, /** @type {string} */ button) => `${rowOf(row, name)} ${byId(button)}`;

    // Newest first: dan, cid, bea. What is pressed goes, and the next one's takes its place.
    await press(page, rowButton('request-received', 'dan', 'accept-request'));
    await isTold(who, 'You and dan are friends now.');
    await focusIsOn(page, 'accept-request of cid');
    await press(page, rowButton('request-received', 'bea', 'reject-request'));
    await isTold(who, 'You declined the request of bea.');
    await focusIsOn(page, 'reject-request of cid');
    await press(page, rowButton('request-received', 'cid', 'accept-request'));
    await isTold(who, 'You and cid are friends now.');
    await focusIsOn(page, 'h1 Who is around?');

    await page.fill(byId('friend-search'), 'eve');
    await press(page, rowButton('search-result', 'eve', 'send-request'));
    await isTold(who, 'You asked eve to be friends.');
    await focusIsOn(page, 'row of eve');
    await press(page, rowButton('request-sent', 'eve', 'withdraw-request'));
    await isTold(who, 'You took back your request to eve.');
    await focusIsOn(page, 'h1 Who is around?');

    await press(page, rowButton('friend', 'cid', 'remove-friend'));
    await press(page, byId('confirm-yes'));
    await isTold(who, 'You and cid are no longer friends.');
    await focusIsOn(page, 'remove-friend of dan');
    // A row that takes another place in its list keeps the focus.
    await befriend(ann, eve);
    await page.waitForSelector(rowOf('friend', 'eve'));
    await page.locator(rowButton('friend', 'eve', 'remove-friend')).focus();
    const [host, guest] = await Promise.all([comesOnline(eve), comesOnline(dan)]);
    await page.waitForSelector(`${rowOf('friend', 'eve')}[data-online="true"]`);
    await focusIsOn(page, 'remove-friend of eve');

    await page.focus(byId('room-name'));
    await page.keyboard.type('Slow Sunday');
    await page.keyboard.press('Enter');
    await isTold(who, 'You opened Slow Sunday.');
    await focusIsOn(page, 'room-title');
    await guest.joinRoom(new URL(page.url()).pathname.split('/').pop() ?? '');
    await page.waitForSelector(rowOf('participant', 'dan'));
    await press(page, rowButton('participant', 'dan', 'make-host'));
    await press(page, byId('confirm-yes'));
    await isTold(who, 'dan leads the room now.');
    await focusIsOn(page, 'row of dan');
    await press(page, byId('leave-room'));
    await isTold(who, 'You left Slow Sunday.');
    await focusIsOn(page, 'greeting');

    await press(page, byId('create-room'));
    await isTold(who, 'You opened ann’s room.');
    await page.fill(byId('song-link'), '/tracks/nothing-here.opus');
    await page.keyboard.press('Enter');
    await page.waitForSelector(`${byId('song-error')}:not(:empty)`);
    await press(page, byId('retry-song'));
    await isTold(who, 'Trying the song again.');
    await page.waitForFunction(() => document.activeElement?.closest('[data-testid="room-view"]'));
    await press(page, byId('close-room'));
    await press(page, byId('confirm-yes'));
    await isTold(who, 'You closed the room.');
    await focusIsOn(page, 'greeting');

    const { room_id: id } = await host.createRoom('Rain', false);
    await host.joinRoom(id);
    await press(page, rowButton('friend', 'eve', 'join-friend'));
    await isTold(who, 'You are in Rain.');
    await focusIsOn(page, 'room-title');
    await host.closeRoom(id);
    await isTold(who, 'The host has closed this room.');
    await focusIsOn(page, 'greeting');

    await press(page, byId('account-open'));
    await page.fill(byId('account-username'), 'Anna');
    await page.keyboard.press('Enter');
    await isTold(who, 'You are Anna now.');
    await focusIsOn(page, 'account-open');
    await press(page, byId('logout'));
    await isTold(who, 'You have logged out.');
    await focusIsOn(page, 'h1 All together, now.');
    await logIn({ ...who, username: 'Anna' });
    await focusIsOn(page, 'greeting');
    assert.deepEqual(who.faults, []);
  });

  test('a listener who does not see the page is told of the music', { timeout: STORY_MS }, async () => {
    const [fay, gil] = await Promise.all(['fay', 'gil'].map(signUp));
    const host = await comesOnline(fay);
    const { room_id: id } = await host.createRoom('Attic', false);
    await host.joinRoom(id);
    const who = await arrive(browser, gil, `/room/${id}`);
    await isTold(who, 'Nothing is playing yet.');
    const song = { title: 'Window Seat', artists: ['Tutti'], audio_url: '/tracks/window-seat.opus' };
    const say = (/** @type {boolean} */ playing, /** @type {number} */ position) => host.syncState({ playback_state: { playing, position }, current_song: song });
    await say(false, 0);
    await isTold(who, 'Now playing: Window Seat by Tutti.');
    await say(true, 0);
    // The ticks of a host who goes on say nothing new.
    for (const second of [1, 2, 3]) await say(true, second);
    await say(false, 4);
    await isTold(who, 'fay paused the music.');
    await say(true, 4);
    await isTold(who, 'fay started the music.');
    const news = await newsOf(who);
    assert.deepEqual(news, [
      'You are in Attic.', 'Nothing is playing yet.', 'Now playing: Window Seat by Tutti.', 'fay paused the music.', 'fay started the music.',
    ]);
    assert.deepEqual(who.faults, []);
  });

  test('what can be used stands out, in every theme', { timeout: STORY_MS }, async () => {
    const hal = await signUp('hal');
    const { page } = await arrive(browser, hal, '/', { reducedMotion: 'reduce', viewport: { width: 1280, height: 900 } });
    const stranger = await (await browser.newContext({ reducedMotion: 'reduce' })).newPage();
    await stranger.goto(tutti.url);
    /** @type {{name: string, media: Parameters<Page['emulateMedia']>[0]}[]} */
    const themes = [
      { name: 'light', media: { colorScheme: 'light' } },
      { name: 'dark', media: { colorScheme: 'dark' } },
      { name: 'forced colours', media: { colorScheme: 'dark', forcedColors: 'active' } },
    ];
    /** @type {string[]} */
    const faint = [];
    const judge = (/** @type {string} */ what, /** @type {number} */ ratio) => {
      if (!(ratio >= ENOUGH)) faint.push(`${what}: ${ratio.toFixed(2)}`);
    };
    for (const { name, media } of themes) {
      await stranger.emulateMedia({ forcedColors: 'none', ...media });
      judge(`${name}, login-login`, await edgeContrast(stranger, 'login-login'));
      await page.emulateMedia({ forcedColors: 'none', ...media });
      for (const id of ['room-name', 'create-room']) judge(`${name}, ${id}`, await edgeContrast(page, id));
      await page.focus(byId('theme-toggle'));
      await page.keyboard.press('Shift+Tab');
      judge(`${name}, a focus ring`, await edgeContrast(page, 'account-open', { from: -6, to: 1 }));
      for (const on of [true, false]) {
        await page.setChecked(byId('room-friends-only'), on);
        judge(`${name}, a switch that is ${on ? 'on' : 'off'}`, await edgeContrast(page, 'room-friends-only'));
      }
    }
    await page.click(byId('create-room'));
    await page.waitForSelector(byId('room-view'));
    await page.click(`${byId('track')} >> nth=0`);
    await page.waitForSelector(`${byId('seek')}:enabled`);
    await page.click(byId('play-pause'));
    await page.fill(byId('seek'), String(await page.evaluate(() => Number(/** @type {HTMLInputElement} */ (document.querySelector('[data-testid="seek"]')).max) / 2)));
    await page.fill(byId('volume'), '50');
    await page.click('summary');
    await page.fill(byId('trim'), '0');
    for (const { name, media } of themes) {
      await page.emulateMedia({ forcedColors: 'none', ...media });
      for (const id of ['copy-link', 'leave-room', 'song-link', 'play-pause']) judge(`${name}, ${id}`, await edgeContrast(page, id));
      for (const id of ['seek', 'volume', 'trim']) {
        for (const [part, ratio] of Object.entries(await sliderContrasts(page, id, 0.5))) judge(`${name}, ${id}, ${part}`, ratio);
      }
    }
    assert.deepEqual(faint, []);
  });
});
