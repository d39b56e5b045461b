import { PlaybackBlocked, PlayerError } from './player.js';
import { SoundClock } from './sound-clock.js';

/** @typedef {import('./player.js').Player} Player @typedef {import('./player.js').Song} Song */

/** A song that is better played while it loads: too long to be decoded as a whole, too slow to come, or not to be read by a page. */
export class NotDecodable extends PlayerError {}

// Decoded, a minute of stereo takes 23 MB.
const MOST_S = 12 * 60;
const MOST_ON_SMALL_DEVICE_S = 5 * 60;
const SMALL_DEVICE_GB = 2;
const MOST_BYTES = 64 * 2 ** 20;
/** Who waits longer for the whole song would rather hear its beginning. */
const DOWNLOAD_MS = 5_000;
const KEPT_SONGS = 2;
const RESUME_MS = 1_000;
/** Context time between asking for a sound and its first sample: less may already be mixed. */
const AHEAD_S = 0.04;
const FADE_S = 0.008;
/** A long buffer outlasts a moment in which the device is busy, and its delay is known and subtracted. */
const BUFFER_S = 0.1;

/**
 * A player of songs that are decoded as a whole. Each sound is scheduled on the clock of the sound itself, so it begins where it
 * should to the sample, and its place is known and not measured.
 * @implements {Player}
 */
export class WebAudioPlayer {
  /** @type {'webaudio'} */
  kind = 'webaudio';

  habits = {
    seekAbove: 0.008, cooldownMs: 1000, settleMs: 250, samples: 8, bends: true, deadZone: 0.0003,
    startLag: 0, seekLag: 0, cueAhead: 0.1, scheduled: true,
  };

  constructor() {
    /** @type {AudioContext | null} */
    this.context = null;
    this.clock = new SoundClock();
    /** @type {AudioBuffer | null} */
    this.buffer = null;
    /** @type {Map<string, Promise<AudioBuffer>>} the latest last */
    this.decoded = new Map();
    /** @type {{ node: AudioBufferSourceNode, gain: GainNode } | null} */
    this.voice = null;
    /** Where the voice is: at `when` of the context at `position`, moving on at `rate`. */
    this.line = { when: 0, position: 0, rate: 1 };
    /** The line before: until `when` it is the one that is heard. */
    this.earlier = this.line;
    this.loads = 0;
    this.level = 1;
  }

  /** Opens the way to the loudspeaker: what it tells of its time is wrong in the first half second. */
  prepare() { this.#open(); }

  #open() {
    if (this.context) return this.context;
    const context = new AudioContext({ latencyHint: BUFFER_S });
    this.context = context;
    this.volume = context.createGain();
    this.volume.gain.value = this.level;
    this.volume.connect(context.destination);
    // A context without any source is put to sleep by some browsers, and its clock with it.
    const silence = context.createConstantSource();
    silence.offset.value = 0;
    silence.connect(this.volume);
    silence.start();
    context.addEventListener('statechange', () => this.clock.reset());
    context.resume().catch(() => undefined);
    return context;
  }

  /** The loudspeaker is another one now. */
  deviceChanged() { this.clock.reset(); }

  /** Looks at the clock of the sound; to be called some fifty times a second. */
  look() {
    const { context } = this;
    if (!context || context.state !== 'running') return;
    const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
    this.clock.add(contextTime, performanceTime);
  }

  /** Whether the way to the loudspeaker is open. */
  awake() { return this.context?.state === 'running'; }

  /** Whether sound can be placed: the way is open, and its clock is known. */
  ready() { return this.awake() && this.clock.ready; }

  /** @param {Song} song */
  async load(song) {
    const load = ++this.loads;
    this.#silence(0);
    this.buffer = null;
    const buffer = await this.#decode(song);
    if (load === this.loads) {
      this.buffer = buffer;
      this.line = { when: 0, position: 0, rate: 1 };
    }
  }

  /** Decodes what will be played next. @param {Song} song */
  preload(song) { this.#decode(song).catch(() => undefined); }

  /** @param {Song} song @returns {Promise<AudioBuffer>} */
  #decode(song) {
    const address = song.audio_url ?? '';
    const known = this.decoded.get(address);
    this.decoded.delete(address);
    const buffer = known ?? fetchSong(song).then((data) => this.#open().decodeAudioData(data).catch(() => {
      throw new NotDecodable('This file is damaged, or in a format this browser cannot play.');
    }));
    this.decoded.set(address, buffer);
    buffer.catch(() => { if (this.decoded.get(address) === buffer) this.decoded.delete(address); });
    for (const old of [...this.decoded.keys()].slice(0, -KEPT_SONGS)) this.decoded.delete(old);
    return buffer;
  }

  unload() {
    this.loads += 1;
    this.#silence(0);
    this.buffer = null;
  }

  /** Where the song is that is heard at this moment, seconds. */
  position() {
    return this.voice && this.ready() ? this.placeAt(performance.now()) : this.line.position;
  }

  /** @param {number} pageMs */
  placeAt(pageMs) {
    const at = this.clock.toContext(pageMs);
    const { when, position, rate } = at < this.line.when ? this.earlier : this.line;
    return position + (at - when) * rate;
  }

  duration() { return this.buffer?.duration ?? null; }

  paused() { return this.voice === null; }

  starved() { return false; }

  async play() {
    await this.wake();
    this.startAt(this.line.position, performance.now());
  }

  /** Resolves when there may be sound, rejects where the browser wants a tap first. */
  async wake() {
    const context = this.#open();
    if (context.state === 'running') return;
    // Where a tap is wanted, this never resolves.
    const late = new Promise((resolve) => { setTimeout(resolve, RESUME_MS); });
    await Promise.race([context.resume(), late]);
    if (/** @type {AudioContextState} */ (context.state) !== 'running') throw new PlaybackBlocked();
  }

  /**
   * From `pageMs` on `position` and what follows it is heard. What sounds until then goes on to that moment. A moment that is too near
   * is met a little later, at the place that belongs there.
   *
   * @param {number} position seconds
   * @param {number} pageMs
   * @param {number} [rate]
   */
  startAt(position, pageMs, rate = 1) {
    const { context, buffer } = this;
    if (!context || !buffer || !this.volume) return;
    const wanted = this.clock.toContext(pageMs);
    const when = Math.max(wanted, context.currentTime + AHEAD_S);
    const from = position + (when - wanted) * rate;
    const before = this.voice;
    const gain = context.createGain();
    const node = context.createBufferSource();
    node.buffer = buffer;
    node.playbackRate.value = rate;
    node.connect(gain).connect(this.volume);
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(1, when + FADE_S);
    node.start(when, Math.max(0, from));
    const voice = { node, gain };
    this.voice = voice;
    this.line = { when, position: from, rate };
    // Not started yet, it stands where it will.
    this.earlier = { ...this.line, rate: 0 };
    node.onended = () => {
      gain.disconnect();
      if (this.voice === voice) {
        this.line = { when: 0, position: buffer.duration, rate: 1 };
        this.voice = null;
      }
    };
    if (before) fadeOut(before, when);
  }

  pause() { this.#silence(this.position()); }

  /** @param {number} position where it rests from now on */
  #silence(position) {
    if (this.voice && this.context) fadeOut(this.voice, this.context.currentTime);
    this.voice = null;
    this.line = { when: 0, position, rate: 1 };
  }

  /** @param {number} seconds */
  async seek(seconds) {
    if (this.voice) this.startAt(seconds, performance.now(), this.line.rate);
    else this.line = { when: 0, position: Math.max(0, seconds), rate: 1 };
  }

  /** @param {number} rate */
  setRate(rate) {
    const { context, voice, line } = this;
    if (!context || !voice || Math.abs(rate - line.rate) < 1e-6) return;
    const when = Math.max(line.when, context.currentTime + AHEAD_S);
    voice.node.playbackRate.setValueAtTime(rate, when);
    this.earlier = line;
    this.line = { when, position: line.position + (when - line.when) * line.rate, rate };
  }

  /** @param {number} volume @param {boolean} muted */
  setVolume(volume, muted) {
    // A slider is heard as even when the power follows it.
    this.level = muted ? 0 : volume ** 2;
    if (this.context && this.volume) this.volume.gain.setTargetAtTime(this.level, this.context.currentTime, 0.01);
  }

  unlock() { this.#open().resume().catch(() => undefined); }

  title() { return null; }
}

/** @param {{ node: AudioBufferSourceNode, gain: GainNode }} voice @param {number} when context time */
function fadeOut({ node, gain }, when) {
  gain.gain.cancelScheduledValues(when);
  gain.gain.setValueAtTime(1, when);
  gain.gain.linearRampToValueAtTime(0, when + FADE_S);
  node.onended = () => gain.disconnect();
  node.stop(when + FADE_S);
}

/** @param {Song} song @returns {Promise<ArrayBuffer>} the file, if it may be decoded as a whole */
async function fetchSong(song) {
  if (!song.audio_url) throw new PlayerError('This song comes without an address to play from.');
  const { deviceMemory = 8 } = /** @type {{ deviceMemory?: number }} */ (navigator);
  const most = deviceMemory <= SMALL_DEVICE_GB ? MOST_ON_SMALL_DEVICE_S : MOST_S;
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), DOWNLOAD_MS);
  try {
    const lasts = song.duration ?? durationOf(song.audio_url, giveUp.signal);
    const response = await fetch(song.audio_url, { signal: giveUp.signal });
    const bytes = Number(response.headers.get('content-length'));
    if (!response.ok || bytes > MOST_BYTES) throw new NotDecodable();
    const [data, seconds] = await Promise.all([response.arrayBuffer(), lasts]);
    if (seconds > most) throw new NotDecodable();
    return data;
  } catch {
    // Refused by the other site, broken off, too late: whatever it was, `<audio>` asks again and says it in words.
    throw new NotDecodable();
  } finally {
    clearTimeout(timer);
    giveUp.abort();
  }
}

/**
 * How long a song lasts, before it is decoded: an hour of it, decoded, would be more than a page may have.
 * @param {string} address
 * @param {AbortSignal} signal
 * @returns {Promise<number>} seconds
 */
function durationOf(address, signal) {
  return new Promise((resolve) => {
    const probe = new Audio();
    const done = (/** @type {number} */ seconds) => {
      probe.removeAttribute('src');
      probe.load();
      resolve(seconds);
    };
    probe.preload = 'metadata';
    probe.onloadedmetadata = () => done(probe.duration);
    probe.onerror = () => resolve(Infinity);
    signal.addEventListener('abort', () => done(Infinity));
    probe.src = address;
  });
}
