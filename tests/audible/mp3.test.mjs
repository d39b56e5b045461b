// MP3 files whose bit rate changes, played by `<audio>`: from the sound, everybody is where the room is, or is told that nobody knows.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId } from '../browser/people.mjs';
import { openPlace } from './evening.mjs';

const STORY_MS = 120_000;
/** May be read, and not be decoded: as a song that is too long for that. */
const UNDECODABLE = () => { AudioContext.prototype.decodeAudioData = () => Promise.reject(new Error('no')); };

/** What it gets frame by frame, this browser calls damaged. */
const UNSTREAMABLE = () => {
  const { addSourceBuffer } = MediaSource.prototype;
  MediaSource.prototype.addSourceBuffer = function take(type) {
    const buffer = addSourceBuffer.call(this, type);
    buffer.appendBuffer = () => this.endOfStream('decode');
    return buffer;
  };
  AudioContext.prototype.decodeAudioData = () => Promise.reject(new Error('no'));
};

describe('MP3 files', () => {
  /** @type {Awaited<ReturnType<typeof openPlace>>} */
  let place;

  before(async () => { place = await openPlace(); });
  after(() => place?.close());

  /** @param {import('./listeners.mjs').Listener} who */
  const meter = ({ page }) => page.locator(byId('sync-offset'));

  for (const [what, manner, kind] of /** @type {const} */ ([
    ['a table of places', 'ranges', 'xing.mp3'], ['no word about its length, and from a server that gives out no parts,', 'whole', 'bare.mp3'],
  ])) {
    test(`with ${what} is at its place by either player, from the beginning, after seeks, and for who comes later`, { timeout: STORY_MS }, async (t) => {
      const { evening, files, guestBrowser, together } = place;
      // The guest decodes it, and so is at the place of the samples themselves.
      const { host, guest } = await evening(t, await guestBrowser(t), { host: { init: UNDECODABLE }, link: files.address(0, manner, kind), lateByS: 2 });
      await together({ beyond: 2 });
      for (const seconds of [70, 31]) {
        await host.page.fill(byId('seek'), String(seconds));
        await together({ beyond: seconds });
      }
      for (const [who, player] of /** @type {const} */ ([[host, 'audio'], [guest, 'webaudio']])) {
        assert.equal(await meter(who).getAttribute('data-player'), player);
        assert.doesNotMatch(await meter(who).textContent() ?? '', /roughly/);
      }
    });
  }

  for (const [what, options] of /** @type {const} */ ([['no page may read', { player: 'audio' }], ['the browser does not take frame by frame', { init: UNSTREAMABLE }]])) {
    test(`that ${what} is at a place that is only roughly known, and all are told`, { timeout: STORY_MS }, async (t) => {
      const { evening, files, guestBrowser } = place;
      const { host, guest } = await evening(t, await guestBrowser(t), { host: { ...options }, guest: { ...options }, link: files.address(0, 'ranges', 'bare.mp3') });
      await host.page.fill(byId('seek'), '60');
      for (const who of [host, guest]) {
        await meter(who).filter({ hasText: 'only roughly known' }).waitFor();
        assert.equal(await meter(who).getAttribute('data-state'), 'wait');
        await who.page.waitForFunction((where) => Number(document.querySelector(where)?.getAttribute('data-error')) >= 1000, byId('sync-offset'));
      }
    });
  }
});
