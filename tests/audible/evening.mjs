// A host who plays, a guest who comes in, and what both of them hear.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { byId } from '../browser/people.mjs';
import { cast, createRoom } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { FLAGS, hurrySound, listener, openBrowser } from './listeners.mjs';
import { windowsOf } from './measure.mjs';
import { Song } from './place.mjs';
import { makeSong } from './song.mjs';
import { songServer } from './song-server.mjs';
import { startSound } from './sound.mjs';

/** What is looked for is waited for as long as this; how soon it comes is for the rig to say. */
export const WITHIN_MS = 30_000;
const LOOK_MS = 1500;
const SONG_S = 120;
/** Nobody takes this for two; what is in the wrong place is further off. */
const TOGETHER_MS = 30;
/** Outputs: channels of what is recorded. A guest may change from one to the other. */
export const HOST = 0;
export const GUEST = 1;
export const SPARE = 2;

/** A server, a song and loudspeakers for both. */
export async function openPlace() {
  const samples = makeSong(SONG_S, 1);
  const songs = [new Song(samples)];
  const files = await songServer([samples]);
  const sound = await startSound(SPARE + 1);
  const tutti = await startTutti({ env: { ...unlimited, SOCKET_PING_INTERVAL: '1s', SOCKET_PING_TIMEOUT: '1s' } });
  const hostBrowser = await openBrowser(sound.env(HOST));
  const hurrying = setInterval(hurrySound, 500);

  /** What everybody plays for a while. */
  async function listen() {
    const recorder = await sound.record();
    await pause(LOOK_MS);
    return recorder.stop();
  }

  return {
    sound,
    /** Where its songs come from. */
    files,
    /** The address of the song that is known by its sound. */
    song: files.address(0),

    /** @param {number} output @returns {Promise<boolean>} */
    async isHeard(output) {
      const { channels } = await listen();
      return channels[output].some((sample) => Math.abs(sample) > 100);
    },

    /**
     * Waits until both are heard at one place.
     * @param {{ output?: number, beyond?: number, withinMs?: number }} [where] the guest is heard, and from which second of the song on
     */
    async together({ output = GUEST, beyond = 0, withinMs = TOGETHER_MS } = {}) {
      const deadline = performance.now() + WITHIN_MS;
      let last = '';
      while (performance.now() < deadline) {
        const { channels, startedAtMs } = await listen();
        const windows = windowsOf({ channels: [channels[HOST], channels[output]], startedAtMs }, songs);
        if (windows.every(({ spreadMs, positions }) => spreadMs !== null && spreadMs < withinMs && (positions[0] ?? 0) >= beyond)) return;
        last = windows.map(({ positions }) => positions.map((position) => position?.toFixed(3) ?? '–').join('/')).join(' ');
      }
      assert.fail(`not together: ${last}`);
    },

    /** @param {import('node:test').TestContext} t @param {NodeJS.ProcessEnv} [env] @param {string[]} [flags] */
    async guestBrowser(t, env = sound.env(GUEST), flags = FLAGS) {
      const browser = await openBrowser(env, flags);
      t.after(() => browser.close());
      return browser;
    },

    /**
     * A host who plays, and a guest who comes in.
     * @param {import('node:test').TestContext} t
     * @param {import('playwright-core').Browser} guestBrowser
     * @param {{ link?: string, host?: Parameters<typeof listener>[2], guest?: Parameters<typeof listener>[2], lateByS?: number }} [options]
     * what is played, and from which second on the guest may come
     */
    async evening(t, guestBrowser, { link = files.address(0), host: hostOptions = {}, guest: guestOptions = {}, lateByS = 0 } = {}) {
      const [ann, bob] = await cast(tutti.url, 'ann', 'bob');
      const hosts = [files.host, 'www.youtube.com'];
      const host = await listener(hostBrowser, ann, { hosts, ...hostOptions });
      const guest = await listener(guestBrowser, bob, { hosts, ...guestOptions });
      t.after(() => Promise.all([host.close(), guest.close()]));
      const { room_id: roomId } = await createRoom(ann);
      await host.enter(roomId);
      await host.page.fill(byId('song-link'), link);
      await host.page.click(byId('play-link'));
      await host.page.waitForFunction((place) => document.querySelector(place)?.textContent, byId('sync-offset'));
      if (lateByS) await host.page.waitForFunction(([where, from]) => Number(document.querySelector(where)?.getAttribute('data-heard')) >= Number(from), [byId('transport'), String(lateByS)]);
      await guest.enter(roomId);
      await guest.page.waitForSelector(byId('room-title'));
      return { host, guest };
    },

    async close() {
      clearInterval(hurrying);
      await hostBrowser.close();
      await tutti.stop();
      await sound.stop();
      files.close();
    },
  };
}
