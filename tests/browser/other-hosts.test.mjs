// What other hosts learn of people who listen to songs that are there: of those who see a picture, nothing, and of those who hear a
// song, what they have agreed to.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { register as registerUser } from '../support/api.mjs';
import { scene } from '../support/scene.mjs';
import { songServer } from '../audible/song-server.mjs';
import { makeSong } from '../audible/song.mjs';
import { startPictureHost } from '../support/picture-host.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, person, playsPast, register, startBrowser } from './people.mjs';

const STORY_MS = 60_000;

describe('songs of other hosts', { timeout: 8 * STORY_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {Awaited<ReturnType<typeof startPictureHost>>} */
  let pictures;
  /** On this machine and not listed. @type {Awaited<ReturnType<typeof startPictureHost>>} */
  let neighbour;

  /** Two hosts of songs. @type {Awaited<ReturnType<typeof songServer>>[]} */
  let songs;

  before(async () => {
    const samples = [makeSong(60, 1), makeSong(60, 2)];
    songs = await Promise.all([songServer(samples), songServer(samples)]);
    [pictures, neighbour] = await Promise.all([startPictureHost(), startPictureHost()]);
    tutti = await startTutti({ env: { ...unlimited, OUTBOUND_ALLOW: `127.0.0.1:${pictures.port}` } });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await tutti?.stop();
    await Promise.all([pictures, neighbour].map((each) => each?.stop()));
    for (const each of songs ?? []) each.close();
  });

  /**
   * A room whose host is a program, which may name any song; and somebody who is in it.
   * @param {string} username @param {import('playwright-core').BrowserContextOptions} [options]
   */
  async function audience(username, options) {
    const host = await registerUser(tutti.url, 'host');
    const { room, connections: [connection] } = await scene('websocket', host);
    const one = await person(browser, `${tutti.url}/room/${room.room_id}`, username, options);
    /** What the browser asked for. @type {string[]} */
    const asked = [];
    one.page.on('request', (request) => asked.push(request.url()));
    await register(one);
    /** @param {string} title @param {Record<string, string>} song @param {boolean} [playing] */
    const put = async (title, song, playing = true) => {
      await connection.emit('sync_state', { playback_state: { playing, position: 0 }, current_song: { title, artists: [], ...song } });
      await one.page.waitForFunction(([id, text]) => document.querySelector(id)?.textContent === text, [byId('song-title'), title]);
    };
    /** @param {string} title @param {string} artwork */
    const show = (title, artwork) => put(title, { audio_url: '/tracks/window-seat.opus', artwork_url: artwork }, false);
    return { one, asked, show, put };
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

  /** @param {import('./people.mjs').Person} who @param {string} host */
  const isAsked = ({ page }, host) => page.locator(byId('tap-to-listen')).filter({ hasText: `Tap to listen from ${host}` }).waitFor();

  /** @param {import('./people.mjs').Person} who */
  const isNotAsked = async ({ page }) => assert.equal(await page.isVisible(byId('tap-to-listen')), false);

  /** @param {import('./people.mjs').Person} who @param {string} link */
  async function play({ page }, link) {
    await page.fill(byId('song-link'), link);
    await page.click(byId('play-link'));
  }

  /** Where somebody hears the song, and where the room is, in seconds. @param {import('./people.mjs').Person} who */
  const places = ({ page }) => page.evaluate(() => {
    const at = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.querySelector(`[data-testid="${id}"]`));
    const [minutes, seconds] = (at('time-current').textContent ?? '').split(':').map(Number);
    return { heard: Number(at('transport').dataset.heard), room: minutes * 60 + seconds };
  });

  test('a listener is asked once for each host, before it is contacted, and holds up nobody', { timeout: 2 * STORY_MS }, async () => {
    const [first, second] = songs;
    const dora = await person(browser, tutti.url, 'dora', { userAgent: 'Chromium for webaudio, of dora' });
    const agent = 'Chromium for webaudio, of eve';
    const eve = await person(browser, tutti.url, 'eve', { userAgent: agent });
    await Promise.all([dora, eve].map(register));
    await dora.page.click('label[for="room-friends-only"]');
    await dora.page.click(byId('create-room'));
    await play(dora, first.address(0));
    await playsPast(dora, 0.5);
    await isNotAsked(dora);

    await eve.page.goto(dora.page.url());
    await isAsked(eve, first.host);
    assert.match(await eve.page.innerText(byId('host-question')), /your own device/);
    await playsPast(dora, 2);
    assert.equal(first.askedBy(agent).length, 0);
    await eve.page.click(byId('tap-to-listen'));
    await playsPast(eve, 2);
    await isNotAsked(eve);
    assert.notEqual(first.askedBy(agent).length, 0);
    const { heard, room } = await places(eve);
    assert.ok(Math.abs(heard - room) < 2, `${heard} s of ${room} s`);

    await play(dora, first.address(1));
    await Promise.all([dora, eve].map((who) => playsPast(who, 0.5)));
    await isNotAsked(eve);
    await dora.page.click(`${byId('track')} >> nth=0`);
    await eve.page.waitForFunction(([id, text]) => document.querySelector(id)?.textContent === text, [byId('song-title'), await dora.page.textContent(`${byId('track')} >> nth=0 >> strong`)]);
    await playsPast(eve, 0.5);
    await isNotAsked(eve);

    // Another host; and the one who has not agreed is to lead.
    await play(dora, second.address(0));
    await isAsked(eve, second.host);
    await playsPast(dora, 1);
    await dora.page.click(byId('leave-room'));
    await eve.page.waitForSelector(`${byId('song-picker')}:visible`);
    await eve.page.waitForFunction((id) => /0:0[4-9]/.test(document.querySelector(id)?.textContent ?? ''), byId('time-current'));
    await isAsked(eve, second.host);
    assert.equal(second.askedBy(agent).length, 0);
    await eve.page.click(byId('tap-to-listen'));
    await playsPast(eve, 4);

    await eve.page.reload();
    await playsPast(eve, 5);
    await isNotAsked(eve);
    assert.deepEqual([...dora.faults, ...eve.faults], []);
  });

  test('a device in the listener’s own network is said to be one', { timeout: STORY_MS }, async () => {
    const { one, asked, put } = await audience('fay');
    await put('At home', { audio_url: 'http://192.168.77.7:8080/song.mp3' });
    await isAsked(one, '192.168.77.7:8080');
    assert.match(await one.page.innerText(byId('host-question')), /a device in your own network/);
    await put('Elsewhere', { audio_url: 'https://songs.example/song.mp3' });
    await isAsked(one, 'songs.example');
    assert.match(await one.page.innerText(byId('host-question')), /songs\.example.*sees your IP address/);
    assert.deepEqual(asked.filter((url) => !url.startsWith(tutti.url)), []);
  });

  test('hosts of songs do not learn on which server they are heard, and YouTube is told, as it wants to be', { timeout: STORY_MS }, async () => {
    const agent = 'Chromium for audio, of gus';
    const { one, asked, put } = await audience('gus', { userAgent: agent });
    /** @type {(string | undefined)[]} */
    const told = [];
    await one.page.route('https://www.youtube.com/iframe_api', (route) => route.fulfill({ contentType: 'text/javascript', body: `
      window.YT = { Player: class {
        constructor(place, { host, events }) {
          const frame = document.createElement('iframe');
          frame.onload = () => events.onReady();
          frame.src = host + '/embed/';
          place.replaceWith(frame);
          Object.assign(this, { cueVideoById: () => setTimeout(events.onStateChange, 0, { data: 5 }), getPlayerState: () => 5, getCurrentTime: () => 0,
            getDuration: () => 60, getVideoData: () => ({}), setVolume() {}, mute() {}, unMute() {}, playVideo() {}, pauseVideo() {}, stopVideo() {},
            seekTo() {}, setPlaybackRate() {} });
        }
      } };
      window.onYouTubeIframeAPIReady();` }));
    await one.page.route('https://www.youtube-nocookie.com/**', (route) => {
      told.push(route.request().headers().referer);
      return route.fulfill({ contentType: 'text/html', body: 'video' });
    });
    await put('A video', { youtube_video_id: 'aaaaaaaaaaa', artwork_url: 'https://i.ytimg.com/vi/aaaaaaaaaaa/hqdefault.jpg' });
    await isAsked(one, 'www.youtube.com');
    assert.deepEqual(asked.filter((url) => !url.startsWith(tutti.url)), []);
    await one.page.click(byId('tap-to-listen'));
    await one.page.waitForSelector(`${byId('youtube')} iframe`);
    await one.page.waitForSelector(`${byId('room-view')}:not(.room-loading)`);
    assert.deepEqual(told, [`${tutti.url}/`]);

    await put('A song', { audio_url: songs[0].address(0) });
    await isAsked(one, songs[0].host);
    await one.page.click(byId('tap-to-listen'));
    await playsPast(one, 0.5);
    const requests = songs[0].askedBy(agent);
    assert.notEqual(requests.length, 0);
    assert.deepEqual(requests.filter(({ referer }) => referer !== undefined), []);
    assert.deepEqual(one.faults, []);
  });
});
