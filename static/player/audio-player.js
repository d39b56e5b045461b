import { PlaybackBlocked, PlayerError } from './player.js';

/** @typedef {import('./player.js').Player} Player @typedef {import('./player.js').Song} Song */

const LOAD_TIMEOUT_MS = 20_000;
const SEEK_TIMEOUT_MS = 4_000;

/**
 * A player of audio files on one `<audio>` element.
 * @implements {Player}
 */
export class AudioPlayer {
  /** @type {'audio'} */
  kind = 'audio';

  // Lags and settling as measured from the sound in Chromium; both lags are learned further while playing.
  habits = {
    seekAbove: 0.035, cooldownMs: 1500, settleMs: 100, samples: 4, bends: true, deadZone: 0.0015,
    startLag: 0.07, seekLag: 0.075, cueAhead: 0.3,
  };

  /**
   * @param {HTMLAudioElement} element
   * @param {Partial<import('./player.js').Habits>} [learned] on this device, earlier
   */
  constructor(element, learned = {}) {
    this.element = element;
    Object.assign(this.habits, learned);
    this.loads = 0;
    // With the pitch kept, Chromium plays at 1.00 and jumps now and then; bent by a percent, nobody hears the pitch.
    element.preservesPitch = false;
  }

  /** @param {Song} song */
  async load(song) {
    const load = ++this.loads;
    const element = this.element;
    if (!song.audio_url) throw new PlayerError('This song comes without an address to play from.');
    element.src = song.audio_url;
    element.load();
    const outcome = await settled(element, ['canplay'], LOAD_TIMEOUT_MS);
    if (load !== this.loads || outcome === 'canplay') return;
    throw new PlayerError(outcome === 'error'
      ? wordsFor(element.error)
      : 'This song takes too long to load. The place it comes from does not answer.');
  }

  unload() {
    this.loads += 1;
    this.element.pause();
    this.element.removeAttribute('src');
    this.element.load();
  }

  position() { return this.element.currentTime; }

  duration() { return Number.isFinite(this.element.duration) ? this.element.duration : null; }

  paused() { return this.element.paused; }

  starved() {
    return !this.element.ended && this.element.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
  }

  async play() {
    try {
      await this.element.play();
    } catch (error) {
      if (error instanceof DOMException && error.name === 'NotAllowedError') throw new PlaybackBlocked();
      // AbortError: a pause or another song came in between, which is no failure.
      if (!(error instanceof DOMException && error.name === 'AbortError')) throw error;
    }
  }

  pause() { this.element.pause(); }

  /** @param {number} seconds */
  async seek(seconds) {
    this.element.currentTime = Math.max(0, seconds);
    await settled(this.element, ['seeked'], SEEK_TIMEOUT_MS);
    if (this.starved()) await settled(this.element, ['canplay'], SEEK_TIMEOUT_MS);
  }

  /** @param {number} rate */
  setRate(rate) { if (this.element.playbackRate !== rate) this.element.playbackRate = rate; }

  /** @param {number} volume @param {boolean} muted */
  setVolume(volume, muted) {
    this.element.volume = volume;
    this.element.muted = muted;
  }

  unlock() {
    const { element } = this;
    if (!element.paused) return;
    const { volume } = element;
    // Some browsers only allow later starts after one made inside the tap itself; it should not be heard.
    element.volume = 0;
    element.play().catch(() => undefined).finally(() => { element.volume = volume; });
    element.pause();
  }

  title() { return null; }
}

/**
 * @param {HTMLAudioElement} element
 * @param {string[]} events
 * @param {number} timeoutMs
 * @returns {Promise<string>} the event, "error" or "timeout"
 */
function settled(element, events, timeoutMs) {
  return new Promise((resolve) => {
    const names = [...events, 'error'];
    /** @param {string} outcome */
    const done = (outcome) => {
      clearTimeout(timer);
      for (const name of names) element.removeEventListener(name, listen);
      resolve(outcome);
    };
    /** @param {Event} event */
    const listen = (event) => done(event.type);
    const timer = setTimeout(() => done('timeout'), timeoutMs);
    for (const name of names) element.addEventListener(name, listen);
  });
}

/** @param {MediaError | null} error */
function wordsFor(error) {
  switch (error?.code) {
    case MediaError.MEDIA_ERR_NETWORK:
      return 'The connection to where this song comes from broke off.';
    case MediaError.MEDIA_ERR_DECODE:
      return 'This file is damaged, or in a format this browser cannot play.';
    default:
      return 'This song could not be loaded: nothing this browser can play is at that address.';
  }
}
