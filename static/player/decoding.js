import { decodedBytes, measure } from './anatomy/measure.js';
import { Download } from './bytes.js';
import { NotDecodable, PlayerError } from './player.js';

/** @typedef {import('./player.js').Song} Song */

/** Decoded, a minute of stereo at 48 kHz takes 23 MB. So long a song of that kind may be. */
const MOST_S = 12 * 60;
const MOST_ON_SMALL_DEVICE_S = 5 * 60;
const STEREO_BYTES_A_SECOND = 2 * 48_000 * 4;
const SMALL_DEVICE_GB = 2;
const MOST_BYTES = 64 * 2 ** 20;
/** Who waits longer for the whole song would rather hear it while it loads. */
const DOWNLOAD_MS = 5_000;
/** So much is decoded first, and where that is too little to begin with, so many times as much. */
const FIRST_BYTES = 2 ** 17;
const MORE = 4;
/** Who comes in later than this is given the whole at once. */
const NEAR_S = 10;
/** A beginning has to last so many times what the rest is expected to take. */
const CAUTION = 1.5;
/** The rest is fetched and decoded when the beginning has begun: until then it would only be in the way. */
const REST_AFTER_MS = 1000;

/**
 * @typedef {object} Decoding A song on its way.
 * @property {Promise<{ buffer: AudioBuffer, duration: number }>} beginning what there is first, and about how many seconds there will be
 * @property {() => number} quietMs for how long nothing has come
 * @property {Promise<AudioBuffer>} whole rejects with NotDecodable, or a PlayerError in words
 */

/**
 * Fetches a song and decodes it: its first seconds as soon as they are here, then all of it. Of the beginning of a file a decoder
 * makes the very samples that it makes of the file's beginning, so the one goes on where the other ends.
 *
 * @param {Song} song
 * @param {Pick<BaseAudioContext, 'decodeAudioData' | 'sampleRate'>} context
 * @param {number} [from] seconds at which it will be taken up
 * @returns {Decoding}
 */
export function decodeSong(song, context, from = 0) {
  const arrival = new Arrival(song, context, from);
  const whole = arrival.all().then((data) => context.decodeAudioData(data).catch(() => {
    throw new NotDecodable('This file is damaged, or in a format this browser cannot play.');
  }));
  const beginning = Promise.race([arrival.beginning, whole.then((buffer) => ({ buffer, duration: buffer.duration }))]);
  // Whoever wants only one of the two is not told of the other.
  whole.catch(() => undefined);
  beginning.catch(() => undefined);
  return { beginning, whole, quietMs: () => performance.now() - arrival.cameAt };
}

/** The bytes of a song as they come. */
class Arrival {
  /** @type {Promise<{ buffer: AudioBuffer, duration: number }>} never, where there is nothing to begin with before the end */
  beginning;
  /** When something came last, page time. */
  cameAt = -Infinity;
  /** @type {(beginning: { buffer: AudioBuffer, duration: number }) => void} */
  #begin = () => undefined;
  #begun = false;
  /** @type {Uint8Array[]} */
  #chunks = [];
  #size = 0;
  /** Of the whole file; 0 where nobody says. */
  #bytes = 0;
  #since = 0;
  #wanted = FIRST_BYTES;
  /** About how many seconds the whole song lasts, where that is known. @type {number | undefined} */
  #seconds;
  #giveUp = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /** @param {Song} song @param {Pick<BaseAudioContext, 'decodeAudioData' | 'sampleRate'>} context @param {number} from seconds */
  constructor(song, context, from) {
    this.song = song;
    this.context = context;
    this.from = from;
    this.#seconds = song.duration ?? undefined;
    this.beginning = new Promise((resolve) => { this.#begin = resolve; });
    const { deviceMemory = 8 } = /** @type {{ deviceMemory?: number }} */ (globalThis.navigator ?? {});
    /** Bytes that the song may take, decoded. */
    this.most = (deviceMemory <= SMALL_DEVICE_GB ? MOST_ON_SMALL_DEVICE_S : MOST_S) * STEREO_BYTES_A_SECOND;
  }

  /** @returns {Promise<ArrayBuffer>} the file, if it may be decoded as a whole */
  async all() {
    const { song } = this;
    if (!song.audio_url) throw new PlayerError('This song comes without an address to play from.');
    const { signal } = this.#giveUp;
    this.#hurry(DOWNLOAD_MS);
    try {
      if ((this.#seconds ?? 0) * STEREO_BYTES_A_SECOND > this.most) throw new NotDecodable();
      this.#since = performance.now();
      // Refused by the other site, or not reachable; `<audio>` finds out which.
      const file = new Download(song.audio_url, signal);
      for await (const chunk of file.chunks()) {
        this.cameAt = performance.now();
        this.#bytes = file.bytes;
        this.#chunks.push(chunk);
        this.#size += chunk.length;
        if (Math.max(this.#bytes, this.#size) > MOST_BYTES) throw new NotDecodable();
        await this.#look();
      }
      const data = this.#first(this.#size);
      if (this.#decodedBytes(data) > this.most) throw new NotDecodable();
      return data;
    } catch (error) {
      // Broken off, too late: whatever it was, `<audio>` asks again and says it in words.
      throw error instanceof NotDecodable ? error : new NotDecodable();
    } finally {
      clearTimeout(this.#timer);
      this.#giveUp.abort();
    }
  }

  /** Decodes what there is, until that is enough to begin with. */
  async #look() {
    while (!this.#begun && this.from < NEAR_S && this.#size >= this.#wanted && this.#wanted <= this.#bytes / 2) {
      const bytes = this.#wanted;
      this.#wanted *= MORE;
      const startedAt = performance.now();
      const data = this.#first(bytes);
      const size = this.#decodedBytes(data);
      // What says nothing of itself yet may do so later.
      if (size === Infinity) continue;
      if (size > this.most) throw new NotDecodable();
      const buffer = await this.context.decodeAudioData(data).catch(() => null);
      // Names and a picture come before the sound; some formats, and some browsers, want all of it.
      if (!buffer) continue;
      const now = performance.now();
      const parts = this.#bytes / bytes;
      this.#seconds ??= buffer.duration * parts;
      if (this.#seconds * STEREO_BYTES_A_SECOND > this.most) throw new NotDecodable();
      const restMs = (now - this.#since) * (this.#bytes / this.#size - 1) + REST_AFTER_MS + (now - startedAt) * parts;
      if ((buffer.duration - this.from) * 1000 < CAUTION * restMs) continue;
      this.#begun = true;
      this.#hurry((buffer.duration - this.from) * 1000);
      this.#begin({ buffer, duration: this.#seconds });
      await new Promise((resolve) => { setTimeout(resolve, REST_AFTER_MS); });
    }
  }

  /** What is not known to fit is not decoded: it would be in memory before anybody could say how much it is. @param {ArrayBuffer} data */
  #decodedBytes(data) {
    const sound = measure(new Uint8Array(data));
    return sound ? decodedBytes(sound, this.context.sampleRate) : Infinity;
  }

  /** @param {number} ms what is not here then is not waited for */
  #hurry(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp.abort(), ms);
  }

  /** @param {number} bytes so many of those that are here */
  #first(bytes) {
    const data = new Uint8Array(bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      data.set(chunk.subarray(0, bytes - at), at);
      at += chunk.length;
      if (at >= bytes) break;
    }
    return data.buffer;
  }
}
