// What other hosts learn of people who listen to songs that are there: of those who see a picture, nothing.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { register as registerUser } from '../support/api.mjs';
import { scene } from '../support/scene.mjs';
import { startPictureHost } from '../support/picture-host.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, person, register, startBrowser } from './people.mjs';

const STORY_MS = 60_000;

describe('songs of other hosts', { timeout: 4 * STORY_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {Awaited<ReturnType<typeof startPictureHost>>} */
  let pictures;
  /** On this machine and not listed. @type {Awaited<ReturnType<typeof startPictureHost>>} */
  let neighbour;

  before(async () => {
    [pictures, neighbour] = await Promise.all([startPictureHost(), startPictureHost()]);
    tutti = await startTutti({ env: { ...unlimited, OUTBOUND_ALLOW: `127.0.0.1:${pictures.port}` } });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await tutti?.stop();
    await Promise.all([pictures, neighbour].map((each) => each?.stop()));
  });

  /** A room whose host is a program, which may name any picture; and somebody who looks at it. @param {string} username */
  async function audience(username) {
    const host = await registerUser(tutti.url, 'host');
    const { room, connections: [connection] } = await scene('websocket', host);
    const one = await person(browser, `${tutti.url}/room/${room.room_id}`, username);
    /** What the browser asked for. @type {string[]} */
    const asked = [];
    one.page.on('request', (request) => asked.push(request.url()));
    await register(one);
    /** @param {string} title @param {string} artwork */
    const show = async (title, artwork) => {
      const song = { title, artists: [], audio_url: '/tracks/window-seat.opus', artwork_url: artwork };
      await connection.emit('sync_state', { playback_state: { playing: false, position: 0 }, current_song: song });
      await one.page.waitForFunction(([id, text]) => document.querySelector(id)?.textContent === text, [byId('song-title'), title]);
    };
    return { one, asked, show };
  }

  /** The cover on the stage: the address of what is shown, if anything is. @param {import('playwright-core').Page} page */
  const cover = (page) => page.evaluate(() => {
    const image = /** @type {HTMLImageElement | null} */ (document.querySelector('.record img'));
    return image && !image.hidden && image.naturalWidth > 0 ? image.src : '';
  });

  test('a picture is fetched by the server, once, and its host sees no browser', { timeout: STORY_MS }, async () => {
    const { one, asked, show } = await audience('ada');
    for (const file of ['a.png', 'a.jpeg', 'a.webp', 'a.gif', 'a.avif']) {
      await show(`Song ${file}`, pictures.at(`/${file}?ada`));
      await one.page.waitForFunction(() => {
        const image = /** @type {HTMLImageElement | null} */ (document.querySelector('.record img'));
        return image && !image.hidden && image.naturalWidth > 0 && image.src.startsWith('blob:');
      });
      await one.page.waitForFunction(() => navigator.mediaSession.metadata?.artwork[0]?.src.startsWith('blob:'));
    }
    await show('Again', pictures.at('/a.png?ada'));
    await one.page.waitForFunction(() => navigator.mediaSession.metadata?.title === 'Again' && navigator.mediaSession.metadata.artwork.length === 1);
    const [request, ...others] = pictures.askedFor('/a.png?ada');
    assert.deepEqual(others, []);
    assert.match(request.headers['user-agent'] ?? '', /^Tutti\//);
    assert.deepEqual(asked.filter((url) => !url.startsWith(tutti.url) && !url.startsWith('blob:')), []);
    assert.equal(asked.filter((url) => url.includes('a.png')).length, 1, 'the page asks its own server once');
    assert.ok(asked.every((url) => !/token|eyJ/.test(url)), 'no token is in an address');
    assert.deepEqual(one.faults, []);
  });

  test('of a picture that cannot be had, the drawn cover stays', { timeout: STORY_MS }, async () => {
    const { one, show } = await audience('bea');
    for (const address of [neighbour.at('/a.png'), pictures.at('/svg.png'), pictures.at('/missing.png')]) {
      const answered = one.page.waitForResponse((response) => response.url().includes('/api/v1/images'));
      await show(`Without ${address}`, address);
      const answer = await answered;
      assert.ok(answer.status() >= 400 && answer.status() < 500);
      await answer.finished();
      await one.page.waitForFunction((title) => navigator.mediaSession.metadata?.title === title, `Without ${address}`);
      assert.equal(await cover(one.page), '');
      assert.equal(await one.page.isVisible('.record img'), false, 'no sign of a broken picture');
      assert.equal(await one.page.isVisible('.record'), true);
    }
    assert.equal(neighbour.connections(), 0);
    assert.deepEqual(one.faults, []);
  });

  test('the page cannot ask another host for a picture, whatever it is told', { timeout: STORY_MS }, async () => {
    const { one } = await audience('cat');
    const outcome = await one.page.evaluate((address) => new Promise((resolve) => {
      addEventListener('securitypolicyviolation', ({ effectiveDirective }) => resolve(effectiveDirective));
      Object.assign(new Image(), { src: address, onload: () => resolve('loaded') });
    }), pictures.at('/a.png?directly'));
    assert.equal(outcome, 'img-src');
    assert.equal(pictures.askedFor('/a.png?directly').length, 0);
  });
});
