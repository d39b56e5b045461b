// Takes the pictures of scripts/screenshots: the real server, a few people, and their evening.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { FriendRoomClient } from '../../static/friend-room-client.js';
import { register } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, inSync, startBrowser } from './people.mjs';

const FOLDER = process.argv[2] ?? fileURLToPath(new URL('../../docs/screenshots', import.meta.url));
/** @type {Record<string, import('playwright-core').BrowserContextOptions>} */
const SIZES = {
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 },
};
const LOOKS = Object.keys(SIZES).flatMap((size) => /** @type {const} */ (['light', 'dark']).map((scheme) => ({ size, scheme })));
const MOMENT_S = 38;

/** @typedef {import('../support/api.mjs').User} User */
/** @typedef {import('playwright-core').Page} Page */
/** @typedef {typeof LOOKS[number]} Look */

/** @type {FriendRoomClient[]} */
const clients = [];

/** @param {string} url @param {string} username @param {string} name */
const signUp = (url, username, name) => register(url, username, { username, email: `${username}@example.org`, name });

/** @param {User} one @param {...User} others */
async function befriend(one, ...others) {
  for (const other of others) {
    const { body } = await one.post('/api/v1/friends/request', { receiver_id: other.user_id });
    await other.post('/api/v1/friends/accept', { request_id: body.request_id });
  }
}

/** Is there without a page. @param {User} user */
async function comeOnline(user) {
  const client = new FriendRoomClient(user.url, user.session, { io });
  clients.push(client);
  await client.connect();
  return client;
}

/** @param {FriendRoomClient} client @param {string} name @param {any} song @param {boolean} playing */
async function openRoom(client, name, song, playing) {
  const { room_id: id } = await client.createRoom(name, true);
  await client.joinRoom(id);
  await client.syncState({ playback_state: { playing, position: 20 }, current_song: song });
  return id;
}

/** Mina's friends, and what they are up to. @param {string} url */
async function evening(url) {
  const mina = await signUp(url, 'mina', 'Mina Okafor');
  const theo = await signUp(url, 'theo', 'Theo Lindqvist');
  const priya = await signUp(url, 'priya', 'Priya Raman');
  const noor = await signUp(url, 'noor', 'Noor Haddad');
  const sol = await signUp(url, 'sol', 'Sol Moreno');
  const jonas = await signUp(url, 'jonas', 'Jonas Weber');
  const lea = await signUp(url, 'lea.marie', 'Léa Marie');
  const wren = await signUp(url, 'wren', 'Wren Castillo');
  const otis = await signUp(url, 'otis', 'Otis Bell');
  await befriend(mina, theo, priya, noor, sol, jonas);
  await befriend(theo, noor, lea);
  await wren.post('/api/v1/friends/request', { receiver_id: mina.user_id });
  await mina.post('/api/v1/friends/request', { receiver_id: otis.user_id });

  /** @type {{title: string}[]} */
  const tracks = await (await fetch(`${url}/tracks/tracks.json`)).json();
  const track = (/** @type {RegExp} */ title) => tracks.find((each) => title.test(each.title));
  const [host, guest, second, third, stranger] = await Promise.all([theo, noor, priya, sol, lea].map(comeOnline));
  const slow = await openRoom(host, 'Slow Sunday', track(/satellites/i), true);
  await guest.joinRoom(slow);
  await stranger.joinRoom(slow);
  await openRoom(second, 'Deadline club', track(/arcade/i), true);
  await openRoom(third, 'Rain on the roof', track(/window/i), false);
  return { mina, comingOver: [host, guest, second] };
}

/** @param {Page} page @param {string} name @param {Look} look */
async function shoot(page, name, { size, scheme }) {
  await page.evaluate(async () => {
    await document.fonts.ready;
    const shown = [...document.images].filter((image) => image.getAttribute('src') && image.checkVisibility());
    await Promise.all(shown.map((image) => image.decode().catch(() => undefined)));
  });
  const file = `${name}-${size}-${scheme}.png`;
  // What has just happened is no part of the page, and lies over its head.
  await page.waitForFunction(() => !document.querySelector('.toast'));
  await page.screenshot({ path: join(FOLDER, file), animations: 'disabled', caret: 'hide' });
  console.log(file);
}

/** @param {import('playwright-core').Browser} browser @param {string} url */
async function takePictures(browser, url) {
  const { mina, comingOver } = await evening(url);

  /** @param {Look} look @param {User | null} user @param {string} [path] */
  async function open({ size, scheme }, user, path = '/') {
    const context = await browser.newContext({ ...SIZES[size], colorScheme: scheme, locale: 'en-GB' });
    await context.addInitScript((session) => {
      // It is always evening.
      Date.prototype.getHours = () => 20;
      if (session) localStorage.setItem('tutti.session', session);
    }, user && JSON.stringify(user.session));
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    await page.goto(url + path);
    return page;
  }

  for (const look of LOOKS) {
    const page = await open(look, null);
    await page.waitForSelector(byId('auth-view'));
    await shoot(page, 'login', look);
    await page.context().close();
  }
  for (const look of LOOKS) {
    const page = await open(look, mina);
    await page.waitForSelector(`${byId('friend-room')} >> nth=2`);
    await shoot(page, 'rooms', look);
    await page.click(byId('nav-friends'));
    await page.waitForSelector(byId('friend'));
    if (look.size === 'desktop') {
      await page.fill(byId('friend-search'), 'lea');
      await page.waitForSelector(byId('search-result'));
    }
    await shoot(page, 'friends', look);
    await page.context().close();
  }

  // Mina opens a room herself, and the others come over.
  const first = await open(LOOKS[0], mina);
  await first.fill(byId('room-name'), 'Kitchen disco');
  await first.click(byId('create-room'));
  await first.waitForURL('**/room/room_*');
  const { pathname } = new URL(first.url());
  for (const client of comingOver) await client.joinRoom(pathname.split('/').pop() ?? '');
  await first.click(`${byId('track')} >> nth=0`);
  await inSync({ page: first });
  for (const look of LOOKS) {
    const page = await open(look, mina, pathname);
    await page.waitForSelector(`${byId('seek')}:enabled`);
    await page.fill(byId('seek'), String(MOMENT_S));
    await page.locator(byId('seek')).blur();
    await page.waitForFunction(
      (least) => Number(/** @type {HTMLElement} */ (document.querySelector('[data-testid="transport"]')).dataset.heard) > least,
      MOMENT_S,
    );
    await page.waitForFunction(() => /±\d ms/.test(document.querySelector('[data-testid="sync-offset"]')?.textContent ?? ''));
    await shoot(page, 'room', look);
    await page.context().close();
  }
}

mkdirSync(FOLDER, { recursive: true });
const tutti = await startTutti({ env: unlimited });
const browser = await startBrowser();
try {
  await takePictures(browser, tutti.url);
} finally {
  for (const client of clients) client.disconnect();
  await browser.close();
  await tutti.stop();
}
