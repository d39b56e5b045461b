// Takes the pictures in docs/screenshots: the real server, a few people, and their evening.
// Run by scripts/screenshots; FOLDER may name another place for the pictures.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { FriendRoomClient } from '../../static/friend-room-client.js';
import { register } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, inSync, startBrowser } from './people.mjs';

const FOLDER = process.env.FOLDER ?? fileURLToPath(new URL('../../docs/screenshots', import.meta.url));
const SIZES = {
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 },
};
const SCHEMES = /** @type {const} */ (['light', 'dark']);
const MOMENT_S = 38;

/** @type {FriendRoomClient[]} */
const clients = [];

/** @param {string} url @param {string} username @param {string} name */
function signUp(url, username, name) {
  return register(url, username, { username, email: `${username}@example.org`, name });
}

/** Two users become friends. @param {import('../support/api.mjs').User} one @param {import('../support/api.mjs').User} other */
async function befriend(one, other) {
  const asked = await one.post('/api/v1/friends/request', { receiver_id: other.user_id });
  await other.post('/api/v1/friends/accept', { request_id: asked.body.request_id });
}

/** Comes online, without a page. @param {import('../support/api.mjs').User} user */
async function online(user) {
  const client = new FriendRoomClient(user.url, user.session, { io });
  clients.push(client);
  await client.connect();
  return client;
}

/** @param {FriendRoomClient} client @param {string} name @param {unknown} song */
async function opens(client, name, song, playing = true) {
  const room = await client.createRoom(name, true);
  await client.joinRoom(room.room_id);
  await client.syncState({ playback_state: { playing, position: 20 }, current_song: /** @type {any} */ (song) });
  return room.room_id;
}

async function cast(/** @type {string} */ url) {
  const tracks = await (await fetch(`${url}/tracks/tracks.json`)).json();
  const users = {
    mina: await signUp(url, 'mina', 'Mina Okafor'),
    theo: await signUp(url, 'theo', 'Theo Lindqvist'),
    priya: await signUp(url, 'priya', 'Priya Raman'),
    jonas: await signUp(url, 'jonas', 'Jonas Weber'),
    noor: await signUp(url, 'noor', 'Noor Haddad'),
    wren: await signUp(url, 'wren', 'Wren Castillo'),
    otis: await signUp(url, 'otis', 'Otis Bell'),
    sol: await signUp(url, 'sol', 'Sol Moreno'),
    lea: await signUp(url, 'lea.marie', 'Léa Marie'),
  };
  const { mina, theo, priya, jonas, noor, wren, otis, sol, lea } = users;
  for (const friend of [theo, priya, jonas, noor, sol]) await befriend(mina, friend);
  for (const friend of [noor, lea]) await befriend(theo, friend);
  await befriend(priya, lea);
  await wren.post('/api/v1/friends/request', { receiver_id: mina.user_id });
  await mina.post('/api/v1/friends/request', { receiver_id: otis.user_id });
  const track = (/** @type {RegExp} */ name) => tracks.find((/** @type {{title: string}} */ { title }) => name.test(title));
  const [t, p, n, s, l] = await Promise.all([theo, priya, noor, sol, lea].map(online));
  const slow = await opens(t, 'Slow Sunday', track(/satellites/i));
  await n.joinRoom(slow);
  await l.joinRoom(slow);
  await opens(p, 'Deadline club', track(/arcade/i));
  await opens(s, 'Rain on the roof', track(/window/i), false);
  return { mina, clients: { theo: t, priya: p, noor: n, lea: l } };
}

/** @param {import('playwright-core').Page} page @param {string} name */
async function shoot(page, name) {
  // The letters are there, and so are the covers.
  await page.evaluate(async () => {
    await document.fonts.ready;
    await Promise.all([...document.images].filter((image) => image.currentSrc && !image.hidden).map((image) => image.decode().catch(() => undefined)));
  });
  await page.screenshot({ path: join(FOLDER, `${name}.png`), animations: 'disabled', caret: 'hide' });
  console.log(`${name}.png`);
}

async function main() {
  mkdirSync(FOLDER, { recursive: true });
  const tutti = await startTutti({ env: unlimited });
  const browser = await startBrowser();
  try {
    const { mina, clients: them } = await cast(tutti.url);
    /** @param {'phone' | 'desktop'} size @param {'light' | 'dark'} scheme @param {boolean} loggedIn @param {string} [path] */
    const open = async (size, scheme, loggedIn, path = '/') => {
      const context = await browser.newContext({ ...SIZES[size], colorScheme: scheme, locale: 'en-GB' });
      await context.addInitScript((session) => {
        // Evening, whenever the pictures are taken.
        Date.prototype.getHours = () => 20;
        if (session && !localStorage.getItem('tutti.session')) localStorage.setItem('tutti.session', session);
      }, loggedIn ? JSON.stringify(mina.session) : '');
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      await page.goto(tutti.url + path);
      return page;
    };
    const each = Object.keys(SIZES).flatMap((size) => SCHEMES.map((scheme) => ({ size: /** @type {'phone' | 'desktop'} */ (size), scheme })));
    for (const { size, scheme } of each) {
      const page = await open(size, scheme, false);
      await page.waitForSelector(byId('auth-view'));
      await shoot(page, `login-${size}-${scheme}`);
      await page.context().close();
    }
    for (const { size, scheme } of each) {
      const page = await open(size, scheme, true);
      await page.waitForSelector(`${byId('friend-room')} >> nth=2`);
      await shoot(page, `rooms-${size}-${scheme}`);
      await page.click(byId('nav-friends'));
      await page.waitForSelector(byId('friend'));
      if (size === 'desktop') {
        await page.fill(byId('friend-search'), 'lea');
        await page.waitForSelector(byId('search-result'));
      }
      await shoot(page, `friends-${size}-${scheme}`);
      await page.context().close();
    }
    // Mina opens a room of her own, and the others come over.
    const stage = await open('desktop', 'dark', true);
    await stage.fill(byId('room-name'), 'Kitchen disco');
    await stage.click(byId('create-room'));
    await stage.waitForURL('**/room/room_*');
    const roomId = stage.url().split('/').pop() ?? '';
    for (const client of [them.theo, them.noor, them.priya]) await client.joinRoom(roomId);
    await stage.click(`${byId('track')} >> nth=0`);
    await inSync({ page: stage });
    for (const { size, scheme } of each) {
      const page = await open(size, scheme, true, `/room/${roomId}`);
      await inSync({ page });
      await page.fill(byId('seek'), String(MOMENT_S));
      await page.locator(byId('seek')).blur();
      await page.waitForFunction((least) => /** @type {HTMLAudioElement} */ (document.querySelector('audio')).currentTime > least, MOMENT_S);
      await inSync({ page });
      await shoot(page, `room-${size}-${scheme}`);
      await page.context().close();
    }
    await stage.context().close();
  } finally {
    for (const client of clients) client.disconnect();
    await browser.close();
    await tutti.stop();
  }
}

await main();
process.exit();
