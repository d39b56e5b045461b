// What goes wrong while people listen together, in real browsers and from the sound: each trouble is said, and the sound comes back
// where the others are.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId } from '../browser/people.mjs';
import { cast, createRoom, eventually } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { FLAGS, hurrySound, listener, openBrowser } from './listeners.mjs';
import { findClick } from '../../static/player/lateness.js';
import { windowsOf } from './measure.mjs';
import { Song } from './place.mjs';
import { makeSong, SAMPLE_RATE } from './song.mjs';
import { songServer } from './song-server.mjs';
import { startSound } from './sound.mjs';

const STORY_MS = 120_000;
/** Each one of these is looked at until it is so; how soon is for the rig to say. */
const WITHIN_MS = 30_000;
const LOOK_S = 1.5;
/** Nobody takes this for two; what is in the wrong place is further off. */
const TOGETHER_MS = 30;
const HOST = 0;
const GUEST = 1;
const SPARE = 2;
const OUTPUTS = 3;
const SONG = 0;

/** @typedef {import('./listeners.mjs').Listener} Listener */

/** @param {number} seconds */
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

describe('when something goes wrong', () => {
  const samples = makeSong(120, 1);
  const songs = [new Song(samples)];
  /** @type {Awaited<ReturnType<typeof startSound>>} */
  let sound;
  /** @type {Awaited<ReturnType<typeof songServer>>} */
  let files;
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let hostBrowser;
  /** @type {ReturnType<typeof setInterval>} */
  let hurrying;

  before(async () => {
    files = await songServer([samples]);
    sound = await startSound(OUTPUTS);
    tutti = await startTutti({ env: { ...unlimited, SOCKET_PING_INTERVAL: '1s', SOCKET_PING_TIMEOUT: '1s' } });
    hostBrowser = await openBrowser(sound.env(HOST));
    hurrying = setInterval(hurrySound, 500);
  });

  after(async () => {
    clearInterval(hurrying);
    await hostBrowser?.close();
    await tutti?.stop();
    await sound?.stop();
    files?.close();
  });

  /** What everybody plays for a while. @param {number} [seconds] */
  async function listen(seconds = LOOK_S) {
    const recorder = await sound.record();
    await pause(seconds);
    return recorder.stop();
  }

  /** @param {number} output @returns {Promise<boolean>} */
  async function isHeard(output) {
    const { channels } = await listen();
    return channels[output].some((sample) => Math.abs(sample) > 100);
  }

  /**
   * Waits until both are heard at one place.
   * @param {number} output where the guest is heard @param {{ beyond?: number }} [place] seconds of the song
   */
  async function together(output = GUEST, { beyond = 0 } = {}) {
    const deadline = performance.now() + WITHIN_MS;
    let last = '';
    while (performance.now() < deadline) {
      const { channels, startedAtMs } = await listen();
      const windows = windowsOf({ channels: [channels[HOST], channels[output]], startedAtMs }, songs);
      if (windows.every(({ spreadMs, positions }) => spreadMs !== null && spreadMs < TOGETHER_MS && (positions[0] ?? 0) >= beyond)) return;
      last = windows.map(({ positions }) => positions.map((position) => position?.toFixed(3) ?? '–').join('/')).join(' ');
    }
    assert.fail(`not together: ${last}`);
  }

  /**
   * A host who plays, and a guest who comes in.
   * @param {import('node:test').TestContext} t
   * @param {import('playwright-core').Browser} guestBrowser
   * @param {Parameters<typeof listener>[2]} [options] of the guest
   */
  async function evening(t, guestBrowser, options = {}) {
    const [ann, bob] = await cast(tutti.url, 'ann', 'bob');
    const host = await listener(hostBrowser, ann, {});
    const guest = await listener(guestBrowser, bob, options);
    t.after(() => Promise.all([host.close(), guest.close()]));
    const { room_id: roomId } = await createRoom(ann);
    await host.enter(roomId);
    await host.page.fill(byId('song-link'), files.address(SONG));
    await host.page.click(byId('play-link'));
    await host.page.waitForSelector(`${byId('sync-offset')}[data-state="good"]`);
    await guest.enter(roomId);
    await guest.page.waitForSelector(byId('room-title'));
    return { host, guest };
  }

  /** @param {import('node:test').TestContext} t @param {NodeJS.ProcessEnv} [env] @param {string[]} [flags] */
  async function guestBrowser(t, env = sound.env(GUEST), flags = FLAGS) {
    const browser = await openBrowser(env, flags);
    t.after(() => browser.close());
    return browser;
  }

  test('a browser that wants a tap first asks for it, and lands where the others are', { timeout: STORY_MS }, async (t) => {
    const wary = await guestBrowser(t, sound.env(GUEST), FLAGS.map((flag) => (flag.includes('autoplay') ? '--autoplay-policy=document-user-activation-required' : flag)));
    const { host, guest } = await evening(t, wary);
    // To Chromium all that a test asks of a page is a tap. So a page of which nothing was asked yet, and the asking is done by hand.
    const page = await guest.page.context().newPage();
    await guest.page.close();
    const devtools = await page.context().newCDPSession(page);
    await page.goto(new URL(new URL(host.page.url()).pathname, guest.user.url).href);
    await eventually(async () => {
      const expression = `document.querySelector('${byId('tap-to-listen')}')?.hidden === false`;
      return (await devtools.send('Runtime.evaluate', { expression, userGesture: false })).result.value;
    }, 'it asks for a tap', { within: WITHIN_MS });
    assert.equal(await isHeard(GUEST), false, 'it was heard without a tap');
    await page.click(byId('tap-to-listen'));
    await together();
    await page.locator(byId('tap-to-listen')).waitFor({ state: 'hidden' });
  });

  test('while the line is broken the music plays on, and what was missed is made up for', { timeout: STORY_MS }, async (t) => {
    const { host, guest } = await evening(t, await guestBrowser(t), { fault: { delayMs: 0 } });
    await together();
    guest.line?.cut();
    await guest.page.waitForSelector(`${byId('connection-state')}:not([hidden])`);
    await guest.page.waitForFunction((place) => /without a connection/.test(document.querySelector(place)?.textContent ?? ''), byId('sync-offset'));
    await together();
    await host.page.fill(byId('seek'), '60');
    guest.line?.mend();
    await together(GUEST, { beyond: 60 });
    await guest.page.waitForSelector(`${byId('connection-state')}[hidden]`, { state: 'attached' });
  });

  for (const player of /** @type {const} */ (['webaudio', 'audio'])) {
    test(`another loudspeaker takes over at the same place, by ${player}`, { timeout: STORY_MS }, async (t) => {
      const plugged = sound.pactl('load-module', 'module-remap-sink', 'sink_name=plugged', 'master=all', 'channels=1', 'channel_map=mono',
        `master_channel_map=aux${GUEST}`, 'remix=no');
      sound.pactl('set-default-sink', 'plugged');
      await evening(t, await guestBrowser(t, sound.defaultEnv), { player });
      await together(GUEST);
      sound.pactl('set-default-sink', `listener${SPARE}`);
      sound.pactl('unload-module', plugged);
      await together(SPARE);
    });
  }

  test('a page that was frozen, as on a locked phone, is where the others are when it wakes', { timeout: STORY_MS }, async (t) => {
    const { host, guest } = await evening(t, await guestBrowser(t));
    await together();
    const devtools = await guest.page.context().newCDPSession(guest.page);
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    await pause(1);
    await host.page.fill(byId('seek'), '60');
    await pause(4);
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    await together(GUEST, { beyond: 60 });
  });

  test('sound that the system takes away, as for a call, is asked for again', { timeout: STORY_MS }, async (t) => {
    const browser = await guestBrowser(t);
    const { guest } = await evening(t, browser, {
      init: () => {
        const Plain = AudioContext;
        globalThis.AudioContext = class extends Plain {
          /** @param {AudioContextOptions} [options] */
          constructor(options) {
            super(options);
            addEventListener('a-call', () => this.suspend());
          }
        };
      },
    });
    await together();
    await guest.page.evaluate(() => dispatchEvent(new Event('a-call')));
    await together();
  });
});
