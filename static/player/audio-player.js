import { BROKE_OFF } from './bytes.js';
import { Mp3Stream } from './mp3-stream.js';
import { NotReadable, PlaybackBlocked, PlayerError } from './player.js';
import { download } from './source.js';

/** @typedef {import('./player.js').Player} Player @typedef {import('./player.js').Song} Song */

const LOAD_TIMEOUT_MS = 10_000;
const SEEK_TIMEOUT_MS = 4_000;
/** What a browser says of the end and of what can be reached may differ by so much. */
const UNREACHED_S = 0.5;
/** From its beginning, every file is played at its place. */
const BEGINNING_S = 0.05;
const SLOW = 'This song takes too long to load. The place it comes from does not answer.';
export const STOPPED = 'The song stopped coming. The place it comes from sends nothing any more.';

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

  /** @type {Player['onBreak']} */
  onBreak = null;

  /**
   * @param {HTMLAudioElement} element
   * @param {Partial<import('./player.js').Habits>} [learned] on this device, earlier
   */
  constructor(element, learned = {}) {
    this.element = element;
    Object.assign(this.habits, learned);
    this.loads = 0;
    /** Whether the song could play: what fails from then on breaks it off. */
    this.loaded = false;
    /** When something of the song came last, page time. */
    this.cameAt = -Infinity;
    /** @type {import('./player.js').Reach} */
    this.reached = 'anywhere';
    /** The address of a song that had to be fetched as a whole. */
    this.whole = '';
    this.fetching = new AbortController();
    /** A song whose frames are counted here. @type {Mp3Stream | null} */
    this.stream = null;
    /** The address of a song that the browser did not take frame by frame: it is played from there. */
    this.unstreamable = '';
    /** When all of the song has come, if that is to be known. @type {Promise<void> | undefined} */
    this.rest = undefined;
    /** Whether the browser guesses where in the file a place is. */
    this.guesses = false;
    /** Whether it has gone to a place other than the beginning. */
    this.jumped = false;
    this.address = '';
    // With the pitch kept, Chromium plays at 1.00 and jumps now and then; bent by a percent, nobody hears the pitch.
    element.preservesPitch = false;
    element.addEventListener('error', () => {
      if (this.stream) this.unstreamable = this.address;
      this.#break(wordsFor(element.error));
    });
    element.addEventListener('ended', () => { if (this.reached === 'live') this.#break('The station has stopped sending.'); });
    for (const name of ['progress', 'loadedmetadata']) element.addEventListener(name, () => { this.cameAt = performance.now(); });
  }

  /** @param {string} words */
  #break(words) {
    if (!this.loaded) return;
    this.loaded = false;
    this.onBreak?.(new PlayerError(words));
  }

  /** @param {Song} song @param {number} [from] seconds at which it will be taken up */
  async load(song, from = 0) {
    const load = ++this.loads;
    this.#release();
    if (!song.audio_url) throw new PlayerError('This song comes without an address to play from.', { lasting: true });
    this.address = song.audio_url;
    if (!song.live) await this.#openStream(from, load);
    if (load !== this.loads) return;
    await this.#open(this.stream?.url ?? song.audio_url, load);
    if (load !== this.loads) return;
    this.reached = this.#reachOf();
    if (this.reached !== 'anywhere') await this.#fetchWhole(load);
    if (load !== this.loads) return;
    // What the browser has kept of a song says nothing about the place where it will be taken up.
    if (from > 0 && this.reached === 'anywhere') await this.#cue(from, load);
    if (load === this.loads) this.loaded = true;
  }

  /** @param {number} from seconds @param {number} load */
  async #cue(from, load) {
    const { element } = this;
    this.jumped = from > BEGINNING_S;
    element.currentTime = Math.min(from, element.duration);
    if (await settled(element, ['seeked'], LOAD_TIMEOUT_MS) === 'seeked' || load !== this.loads) return;
    throw new PlayerError(element.error ? wordsFor(element.error) : STOPPED);
  }

  /** Finds out whether the song is one whose frames have to be counted. @param {number} from seconds @param {number} load */
  async #openStream(from, load) {
    this.guesses = this.address === this.unstreamable;
    if (this.guesses) return;
    const { signal } = this.fetching;
    const stream = await this.#hasten(Mp3Stream.open(this.element, this.address, signal, () => { this.cameAt = performance.now(); }));
    if (load !== this.loads) return;
    if (typeof stream === 'string') {
      this.guesses = stream === 'rough';
      return;
    }
    this.stream = stream;
    this.rest = stream.whole;
    await this.#hasten(stream.covers(from));
  }

  /** Waits for what is coming, and not for what does not. @template T @param {Promise<T>} wanted @returns {Promise<T>} */
  async #hasten(wanted) {
    const startedAt = performance.now();
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setInterval(() => {
        if (performance.now() - Math.max(startedAt, this.cameAt) > LOAD_TIMEOUT_MS) reject(new PlayerError(SLOW));
      }, 1000);
    });
    try {
      return /** @type {T} */ (await Promise.race([wanted, late]));
    } finally {
      clearInterval(timer);
    }
  }

  /** @param {string} address @param {number} load */
  async #open(address, load) {
    const { element } = this;
    element.src = address;
    element.load();
    const outcome = await settled(element, ['canplay'], LOAD_TIMEOUT_MS);
    if (load !== this.loads || outcome === 'canplay') return;
    throw new PlayerError(outcome === 'error'
      ? wordsFor(element.error)
      : SLOW);
  }

  /** What a server without byte ranges sends has no end, or one that cannot be jumped to. @returns {import('./player.js').Reach} */
  #reachOf() {
    const { duration, seekable } = this.element;
    if (!Number.isFinite(duration)) return 'live';
    const end = seekable.length ? seekable.end(seekable.length - 1) : 0;
    return end < duration - UNREACHED_S ? 'onward' : 'anywhere';
  }

  /** @param {number} load */
  async #fetchWhole(load) {
    const whole = await download(this.address, this.fetching.signal).catch((error) => {
      if (error instanceof NotReadable) return null;
      throw error;
    });
    if (load !== this.loads || !whole) return;
    this.whole = URL.createObjectURL(whole);
    await this.#open(this.whole, load);
    if (load === this.loads) this.reached = this.#reachOf();
  }

  #release() {
    this.loaded = false;
    this.cameAt = -Infinity;
    this.reached = 'anywhere';
    this.fetching.abort();
    this.fetching = new AbortController();
    for (const url of [this.whole, this.stream?.url]) if (url) URL.revokeObjectURL(url);
    this.whole = '';
    this.stream = null;
    this.rest = undefined;
    this.guesses = false;
    this.jumped = false;
  }

  unload() {
    this.loads += 1;
    this.#release();
    this.element.pause();
    this.element.removeAttribute('src');
    this.element.load();
  }

  quietMs() { return performance.now() - this.cameAt; }

  reach() { return this.reached; }

  rough() { return this.jumped && (this.guesses || (this.stream?.mixed ?? false)); }

  /** What a station sends at this moment, not what was kept when it was paused. */
  async rejoin() {
    const load = ++this.loads;
    this.loaded = false;
    await this.#open(this.address, load);
    if (load === this.loads) this.loaded = true;
  }

  position() { return this.element.currentTime; }

  duration() {
    const seconds = this.stream?.duration ?? this.element.duration;
    return Number.isFinite(seconds) ? seconds : null;
  }

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
    this.jumped = seconds > BEGINNING_S;
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
      return BROKE_OFF;
    case MediaError.MEDIA_ERR_DECODE:
      return 'This file is damaged, or in a format this browser cannot play.';
    default:
      return 'This song could not be loaded: nothing this browser can play is at that address.';
  }
}
