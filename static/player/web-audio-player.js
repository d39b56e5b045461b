import { decodeSong } from './decoding.js';
import { PlaybackBlocked } from './player.js';
import { SoundClock } from './sound-clock.js';

/** @typedef {import('./player.js').Player} Player @typedef {import('./player.js').Song} Song */

const KEPT_SONGS = 2;
const RESUME_MS = 1_000;
/**
 * A browser mixes as much as its buffer holds at one go. What is asked for meanwhile may come too late, and then begins late without a word:
 * so much beyond what is mixed next, in context time, a sound may begin.
 */
const BEYOND_S = 0.02;
/** Where more was mixed before the asking was done, it is asked again, so often at most. */
const ASKINGS = 5;
const FADE_S = 0.008;
/** What is this near to the end of what is decoded is not worth starting. */
const LEFT_S = 0.1;
/** A long buffer outlasts a moment in which the device is busy, and its delay is known and subtracted. */
const BUFFER_S = 0.1;

/**
 * A player of songs that are decoded, their beginning first and then as a whole. Each sound is scheduled on the clock of the
 * sound itself, so it begins where it should to the sample, and its place is known and not measured.
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
    /** The song as far as it is decoded: its beginning first. @type {AudioBuffer | null} */
    this.buffer = null;
    /** Seconds of the whole song. @type {number | null} */
    this.length = null;
    /** Rejects when no more than the beginning can be had. */
    this.rest = Promise.resolve();
    /** @type {Map<string, import('./decoding.js').Decoding>} the latest last */
    this.decoded = new Map();
    /** @type {{ node: AudioBufferSourceNode, gain: GainNode } | null} */
    this.voice = null;
    /** Where the voice is: at `when` of the context at `position`, moving on at `rate`. */
    this.line = { when: 0, position: 0, rate: 1 };
    /** The line before: until `when` it is the one that is heard. */
    this.earlier = this.line;
    this.loads = 0;
    /** Whether not all of the song is decoded yet. */
    this.busy = false;
    this.level = 1;
    /** For how long nothing of the song has come, milliseconds. */
    this.quietMs = () => Infinity;
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
    if (this.context?.state === 'running') this.clock.look(this.context);
  }

  /** Whether the way to the loudspeaker is open. */
  awake() { return this.context?.state === 'running'; }

  /** Whether sound can be placed: the way is open, and its clock is known. */
  ready() { return this.awake() && this.clock.ready; }

  /** @param {Song} song @param {number} [from] seconds at which it will begin */
  async load(song, from = 0) {
    const load = ++this.loads;
    this.#silence(0);
    this.buffer = null;
    this.busy = true;
    const { beginning, whole, quietMs } = this.#decode(song, from);
    this.quietMs = quietMs;
    const { buffer, duration } = await beginning;
    if (load !== this.loads) return;
    this.buffer = buffer;
    this.length = duration;
    this.line = { when: 0, position: 0, rate: 1 };
    this.rest = whole.then((all) => { if (load === this.loads) this.#complete(all); });
    // Whoever has gone on to another song does not mind.
    this.rest.catch(() => undefined);
  }

  /** What sounds goes on, to the sample, from the whole of the song. @param {AudioBuffer} whole */
  #complete(whole) {
    const { context, line } = this;
    this.busy = false;
    if (this.buffer === whole) return;
    this.buffer = whole;
    this.length = whole.duration;
    if (!this.voice || !context) return;
    this.#place(line.when, line.position, line.rate);
    this.earlier = line;
  }

  /** Decodes what will be played next. @param {Song} song */
  preload(song) { this.#decode(song); }

  /** @param {Song} song @param {number} [from] seconds */
  #decode(song, from) {
    const address = song.audio_url ?? '';
    const decoding = this.decoded.get(address) ?? decodeSong(song, this.#open(), from);
    this.decoded.delete(address);
    this.decoded.set(address, decoding);
    decoding.whole.catch(() => { if (this.decoded.get(address) === decoding) this.decoded.delete(address); });
    for (const old of [...this.decoded.keys()].slice(0, -KEPT_SONGS)) this.decoded.delete(old);
    return decoding;
  }

  unload() {
    this.loads += 1;
    this.busy = false;
    this.#silence(0);
    this.buffer = null;
    this.length = null;
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

  duration() { return this.length; }

  paused() { return this.voice === null; }

  /** Whether this place can be played yet. @param {number} position seconds */
  covers(position) { return this.buffer !== null && (!this.busy || position < this.buffer.duration - LEFT_S); }

  starved() { return this.voice === null && this.buffer !== null && !this.covers(this.line.position); }

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
    this.#place(this.clock.toContext(pageMs), position, rate);
    // Not started yet, it stands where it will.
    this.earlier = { ...this.line, rate: 0 };
  }

  /** As `startAt`. @param {number} wanted context time @param {number} position seconds @param {number} rate */
  #place(wanted, position, rate) {
    const { context } = this;
    if (!context) return;
    for (let asking = 0; asking < ASKINGS; asking += 1) {
      const when = Math.max(wanted, soonest(context));
      this.#sound(when, position + (when - wanted) * rate, rate);
      if (context.currentTime < when) return;
    }
  }

  /** @param {number} when context time @param {number} from position, seconds @param {number} rate */
  #sound(when, from, rate) {
    const { context, buffer } = this;
    if (!context || !buffer || !this.volume) return;
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
    const when = Math.max(line.when, soonest(context));
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

/** When a sound can begin at the soonest. @param {AudioContext} context @returns {number} context time */
function soonest({ currentTime, baseLatency }) { return currentTime + (baseLatency || BUFFER_S) + BEYOND_S; }

/** @param {{ node: AudioBufferSourceNode, gain: GainNode }} voice @param {number} when context time */
function fadeOut({ node, gain }, when) {
  gain.gain.cancelScheduledValues(when);
  gain.gain.setValueAtTime(1, when);
  gain.gain.linearRampToValueAtTime(0, when + FADE_S);
  node.onended = () => gain.disconnect();
  node.stop(when + FADE_S);
}
