// Videos. YouTube is not to be had where tests run, so what is behind its IFrame API is played here: a song that starts and seeks when it
// likes, tells its place four times a second, and answers late, as the real one does. All before that is real, and it is listened to.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId } from '../browser/people.mjs';
import { GUEST, openPlace } from './evening.mjs';

const STORY_MS = 120_000;
const API = 'https://www.youtube.com/iframe_api';
const VIDEO = 'https://www.youtube.com/watch?v=aaaaaaaaaaa';
const FORBIDDEN = 'https://www.youtube.com/watch?v=bbbbbbbbbbb';
/** YouTube says so only when it is to start. */
const FORBIDDEN_LATE = 'https://www.youtube.com/watch?v=ccccccccccc';
/** Each is put right to a tenth of a second. */
const TOGETHER_MS = 220;

/**
 * Runs in the page in place of YouTube's script.
 * @param {string} song where the sound of every video is
 * @param {number} startsAfterMs how long it takes to start, at least
 */
function behindTheInterface(song, startsAfterMs) {
  const REACTS_MS = 30;
  const TELLS_MS = 250;
  const UNEVEN_MS = 100;
  const soundOf = (/** @type {string} */ video) => (video.startsWith('b') ? null : song);
  class Player {
    /** @param {HTMLElement} place @param {any} options */
    constructor(place, { events }) {
      this.events = events;
      this.audio = new Audio();
      place.append(this.audio);
      this.state = -1;
      this.place = 0;
      this.turn = 0;
      setInterval(() => { this.place = this.audio.currentTime; }, TELLS_MS);
      setTimeout(() => events.onReady({ target: this }), REACTS_MS);
    }

    /** @param {number} state */
    #turn(state) {
      setTimeout(() => { this.state = state; this.events.onStateChange({ data: state }); }, REACTS_MS);
    }

    /** @param {{ videoId: string }} video */
    cueVideoById({ videoId }) {
      const sound = soundOf(videoId);
      if (sound === null) return void this.#refuse();
      this.refuses = videoId.startsWith('c');
      this.audio.src = sound;
      this.audio.addEventListener('canplay', () => this.#turn(5), { once: true });
    }

    #refuse() { setTimeout(() => this.events.onError({ data: 150 }), REACTS_MS); }

    playVideo() {
      if (this.refuses) return void this.#refuse();
      const turn = ++this.turn;
      this.#turn(3);
      setTimeout(() => {
        if (turn !== this.turn) return;
        void this.audio.play();
        this.#turn(1);
      }, startsAfterMs + UNEVEN_MS * Math.random());
    }

    pauseVideo() {
      this.turn += 1;
      this.audio.pause();
      this.#turn(2);
    }

    stopVideo() { this.pauseVideo(); }

    /** @param {number} seconds */
    seekTo(seconds) {
      const plays = !this.audio.paused;
      this.audio.pause();
      this.audio.currentTime = seconds;
      this.place = seconds;
      if (plays) this.playVideo();
    }

    getCurrentTime() { return this.place; }
    getDuration() { return this.audio.duration || 0; }
    getPlayerState() { return this.state; }
    getVideoData() { return { title: 'A video' }; }
    setPlaybackRate() {}
    setVolume() {}
    mute() { this.audio.muted = true; }
    unMute() { this.audio.muted = false; }
  }
  Object.assign(window, { YT: { Player } });
  /** @type {any} */ (window).onYouTubeIframeAPIReady();
}

describe('videos', () => {
  /** @type {Awaited<ReturnType<typeof openPlace>>} */
  let place;

  before(async () => { place = await openPlace(); });
  after(() => place?.close());

  /** One for whom a video starts after so long. @param {number} startsAfterMs */
  const reaching = (startsAfterMs) => ({
    prepare: (/** @type {import('playwright-core').BrowserContext} */ context) => context.route(API, (route) => route.fulfill({
      contentType: 'text/javascript', body: `(${behindTheInterface})(${JSON.stringify(place.song)}, ${startsAfterMs})`,
    })),
  });

  test('are heard at about the same place, also after a jump', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser, together } = place;
    const { host } = await evening(t, await guestBrowser(t), { link: VIDEO, host: reaching(150), guest: reaching(500) });
    await together({ withinMs: TOGETHER_MS });
    await host.page.fill(byId('seek'), '60');
    await together({ withinMs: TOGETHER_MS, beyond: 60 });
  });

  test('that may not be played elsewhere are said to be so', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser } = place;
    const { guest, host } = await evening(t, await guestBrowser(t), { link: VIDEO, host: reaching(150), guest: reaching(150) });
    for (const link of [FORBIDDEN, VIDEO, FORBIDDEN_LATE]) {
      await host.page.fill(byId('song-link'), link);
      await host.page.click(byId('play-link'));
      for (const { page } of [host, guest]) {
        await page.locator(byId('song-error')).filter({ hasText: link === VIDEO ? /^$/ : 'does not allow' }).waitFor({ state: 'attached' });
      }
    }
  });

  test('play on for the others where one cannot reach YouTube', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser, isHeard } = place;
    const cutOff = { prepare: (/** @type {import('playwright-core').BrowserContext} */ context) => context.route(API, (route) => route.abort()) };
    const { guest, host } = await evening(t, await guestBrowser(t), { link: VIDEO, host: reaching(150), guest: cutOff });
    await guest.page.locator(byId('song-error')).filter({ hasText: 'cannot be reached' }).waitFor();
    await host.page.waitForSelector(`${byId('transport')}[data-moving="true"]`);
    assert.equal(await isHeard(GUEST), false);
  });
});
