import { DECODER_DELAY, Mp3Index, PREROLL_FRAMES } from './anatomy/mp3.js';
import { Download } from './bytes.js';
import { NotReadable, PlayerError } from './player.js';
import { MOST_BYTES } from './source.js';

/** What has no frame in its first bytes, tags left out, is no MP3 file. */
const LOOK_BYTES = 2 ** 16;
/** One frame may be there by chance. */
const SURE_FRAMES = 3;
const TYPE = 'audio/mpeg';
/** The browser is given so much of the song ahead of what is heard, in pieces, and what was heard is taken from it again. Seconds. */
const AHEAD_S = 30;
const BEHIND_S = 10;
const PIECE_S = 10;
/** A place can be begun at when so much of what follows it has come. */
const COVERED_S = 0.5;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

/** How exactly `<audio>` knows its place in a file, when it goes there. @typedef {'exact' | 'rough'} Precision */

/**
 * An MP3 file as a source for `<audio>` in which each place is exact. Given the address, a browser guesses where in the file a place is
 * (up to 0.4 s off in two minutes with a table of contents, 2.4 s without one, as measured in Chromium). Here the frames are counted
 * as the file arrives, and are given to the browser with the time at which each belongs.
 */
export class Mp3Stream {
  /** What the element plays. */
  url = '';

  #element;
  #file;
  #chunks;
  #signal;
  #complete = () => {};
  #index = new Mp3Index();
  #bytes = new Uint8Array(0);
  /** @type {MediaSource | undefined} */
  #source = undefined;
  /** @type {SourceBuffer | undefined} */
  #buffer = undefined;
  /** The frame that is appended next. */
  #next = 0;
  /** Whether `#next` does not follow what was appended last. */
  #jumped = true;
  #onBytes;
  /** Told when more is known of the file. @type {(() => void)[]} */
  #waiting = [];

  /**
   * @param {HTMLAudioElement} element
   * @param {Download} file
   * @param {AbortSignal} signal
   * @param {() => void} onBytes
   */
  constructor(element, file, signal, onBytes) {
    this.#element = element;
    this.#file = file;
    this.#signal = signal;
    this.#onBytes = onBytes;
    this.#chunks = file.chunks();
    /** Resolves when all of the file has come. @type {Promise<void>} */
    this.whole = new Promise((resolve) => { this.#complete = () => resolve(); });
  }

  /** Whether the browser can be given MP3 frames with their times. */
  static get supported() { return globalThis.MediaSource?.isTypeSupported(TYPE) ?? false; }

  /**
   * @param {HTMLAudioElement} element which will play it
   * @param {string} address
   * @param {AbortSignal} signal ends the download
   * @param {() => void} onBytes something has come
   * @returns {Promise<Mp3Stream | Precision>} where the browser has to play from the address, how well it will know its place
   */
  static async open(element, address, signal, onBytes) {
    const own = new AbortController();
    signal.addEventListener('abort', () => own.abort());
    const file = new Download(address, own.signal);
    const stream = new Mp3Stream(element, file, own.signal, onBytes);
    const outcome = await stream.#look().catch((error) => {
      // `<audio>` asks again, and what it meets is said in words.
      if (signal.aborted) throw error;
      return error instanceof NotReadable ? guess(address) : 'exact';
    });
    if (outcome !== 'mp3') {
      own.abort();
      return outcome;
    }
    stream.#begin();
    return stream;
  }

  /** Reads the file until it is known what it is. @returns {Promise<'mp3' | Precision>} */
  async #look() {
    // What is not asked for is not closed: it goes on where this ends.
    for (let { value: chunk } = await this.#chunks.next(); chunk; { value: chunk } = await this.#chunks.next()) {
      const first = this.#file.received === chunk.length;
      // What has no end that is known is a station.
      if (!this.#file.bytes) return 'exact';
      if (first && isTimed(chunk)) return 'exact';
      if (first && this.#file.bytes <= MOST_BYTES) this.#bytes = new Uint8Array(this.#file.bytes);
      this.#take(chunk);
      if (this.#index.length >= SURE_FRAMES) return this.#bytes.length && Mp3Stream.supported ? 'mp3' : 'rough';
      if (this.#index.skipped > LOOK_BYTES) break;
    }
    // AAC without a container, for one.
    return 'rough';
  }

  /** @param {Uint8Array} chunk */
  #take(chunk) {
    if (this.#bytes.length) this.#bytes.set(chunk, this.#file.received - chunk.length);
    this.#index.push(chunk);
    this.#onBytes();
  }

  #begin() {
    const source = new MediaSource();
    this.#source = source;
    this.url = URL.createObjectURL(source);
    source.addEventListener('sourceopen', () => {
      if (this.#buffer) return;
      this.#buffer = source.addSourceBuffer(TYPE);
      this.#buffer.addEventListener('updateend', () => this.#feed());
      this.#feed();
    });
    const options = { signal: this.#signal };
    this.#element.addEventListener('seeking', () => this.#aim(), options);
    this.#element.addEventListener('timeupdate', () => this.#feed(), options);
    void this.#receive();
  }

  /** While the connection is broken, what is here plays on. */
  async #receive() {
    for (let waitMs = FIRST_RETRY_MS; !this.#signal.aborted; waitMs = Math.min(2 * waitMs, LAST_RETRY_MS)) {
      try {
        for await (const chunk of this.#chunks) {
          waitMs = FIRST_RETRY_MS;
          this.#take(chunk);
          this.#tell();
        }
        this.#index.end();
        this.#tell();
        this.#complete();
        return;
      } catch (error) {
        if (!(error instanceof PlayerError || error instanceof TypeError)) return;
        await new Promise((resolve) => { setTimeout(resolve, waitMs); });
        this.#chunks = this.#file.chunks();
      }
    }
  }

  #tell() {
    for (const wake of this.#waiting.splice(0)) wake();
    this.#feed();
  }

  /** Whether frames of several kinds make its places unknown. */
  get mixed() { return !this.#index.uniform; }

  /** Seconds of sound; until all of the file has come, about. */
  get duration() {
    const { complete, length, note, samplesPerFrame, rate } = this.#index;
    const share = (this.#file.received || 1) / this.#bytes.length;
    const frames = complete ? length : Math.max(length, note?.frames ?? Math.round(length / share));
    return (frames * samplesPerFrame - (note ? note.delay + note.padding : 0)) / rate;
  }

  /** @param {number} seconds @returns {Promise<void>} when this place can be begun at, or is beyond the end */
  async covers(seconds) {
    while (!this.#index.complete && this.#timeOf(this.#index.length) < seconds + COVERED_S) {
      await new Promise((resolve) => { this.#waiting.push(() => resolve(undefined)); });
    }
  }

  /**
   * Where a frame's sound belongs. decodeAudioData leaves out the encoder's delay and that of the decoder where the encoder has noted its
   * own, and nothing otherwise; Media Source Extensions always leave out that of the decoder. Both players are to be at the same place.
   * @param {number} frame
   * @returns {number} seconds
   */
  #timeOf(frame) {
    const { note, samplesPerFrame, rate } = this.#index;
    return (frame * samplesPerFrame - (note?.trimmed ? note.delay : -DECODER_DELAY)) / rate;
  }

  /** @param {number} seconds @returns {number} the frame that sounds there */
  #frameAt(seconds) {
    const { samplesPerFrame, rate } = this.#index;
    return Math.max(0, Math.floor((seconds - this.#timeOf(0)) * rate / samplesPerFrame));
  }

  /** The element goes to another place. */
  #aim() {
    const { buffered, currentTime } = this.#element;
    for (let range = 0; range < buffered.length; range += 1) {
      if (buffered.start(range) <= currentTime && currentTime < buffered.end(range)) return this.#feed();
    }
    this.#jumped = true;
    return this.#feed();
  }

  /** Does the next thing that there is to do, if nothing is being done. */
  #feed() {
    const [source, buffer] = [this.#source, this.#buffer];
    if (!source || !buffer || buffer.updating || source.readyState === 'closed' || this.#signal.aborted) return;
    const now = this.#element.currentTime;
    if (this.#jumped) {
      if (buffer.buffered.length) return void buffer.remove(0, Infinity);
      this.#jumped = false;
      this.#next = Math.max(0, this.#frameAt(now) - PREROLL_FRAMES);
      if (source.readyState === 'open') buffer.abort();
      buffer.timestampOffset = this.#timeOf(this.#next);
    }
    if (source.readyState === 'open' && !this.#measured(source, buffer)) return;
    const { length, complete, rate, samplesPerFrame } = this.#index;
    const last = Math.min(length, this.#next + Math.ceil(PIECE_S * rate / samplesPerFrame));
    if (buffer.buffered.length && buffer.buffered.start(0) < now - 2 * BEHIND_S) buffer.remove(0, now - BEHIND_S);
    else if (last > this.#next && this.#timeOf(this.#next) < now + AHEAD_S) {
      buffer.appendBuffer(this.#frames(this.#next, last));
      this.#next = last;
    } else if (complete && this.#next === length && source.readyState === 'open') source.endOfStream();
  }

  /** Tells the browser how long the song is. @param {MediaSource} source @param {SourceBuffer} buffer @returns {boolean} whether anything else can be done now */
  #measured(source, { buffered }) {
    const end = buffered.length ? buffered.end(buffered.length - 1) : 0;
    const duration = Math.max(this.duration, end);
    if (!(source.duration >= duration) || (this.#index.complete && source.duration > duration)) source.duration = duration;
    return !this.#buffer?.updating;
  }

  /** @param {number} first @param {number} end the one behind the last @returns {Uint8Array<ArrayBuffer>} these frames, and nothing that is between them */
  #frames(first, end) {
    const { at, sizes } = this.#index;
    const size = sizes.slice(first, end).reduce((sum, each) => sum + each, 0);
    const frames = new Uint8Array(size);
    for (let frame = first, to = 0; frame < end; to += sizes[frame], frame += 1) {
      frames.set(this.#bytes.subarray(at[frame], at[frame] + sizes[frame]), to);
    }
    return frames;
  }
}

/** What tells the time of each of its parts, by what the file is called and by how it begins: RIFF, Ogg, FLAC, MP4, Matroska, AIFF, CAF. */
const TIMED_NAMES = /\.(wav|wave|flac|og[ga]|opus|m4[abr]|mp4|webm|weba|mka|aiff?|caf)$/i;
const TIMED_BEGINNINGS = /^(RIFF|OggS|fLaC|....ftyp|\x1a\x45\xdf\xa3|FORM|caff)/s;

/** @param {Uint8Array} bytes the first of a file */
function isTimed(bytes) { return TIMED_BEGINNINGS.test(String.fromCharCode(...bytes.subarray(0, 8))); }

/**
 * Of what no page may read, only the name may tell.
 * @param {string} address
 * @returns {Precision}
 */
function guess(address) { return TIMED_NAMES.test(new URL(address, location.href).pathname) ? 'exact' : 'rough'; }
