/**
 * The frames of an MP3 file (MPEG 1, 2 and 2.5, layer III), found in its bytes. A frame says how many samples it holds, so counting
 * frames gives the exact time of each byte, whatever the bit rate does. Nothing here trusts the file: of anything that is not a frame,
 * only the number of bytes is kept.
 */

const HEADER_BYTES = 4;
const TAG_HEADER_BYTES = 10;
/** A decoder of layer III gives each sample so much later than the encoder took it in. */
export const DECODER_DELAY = 529;
/** Frames may use bytes of frames before them, 511 at most. In the smallest frames that hold sound, those of so many frames before. */
export const PREROLL_FRAMES = 10;

/** kbit/s by index, of MPEG 1, and of MPEG 2 and 2.5. Index 0 is the free format: how long its frames are is not said. */
const BIT_RATES = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
const SAMPLE_RATES = [44_100, 48_000, 32_000];

/**
 * @typedef {object} FrameHeader
 * @property {1 | 2 | 2.5} version of MPEG
 * @property {number} rate samples a second of each channel
 * @property {1 | 2} channels
 * @property {number} samples of each channel in this frame
 * @property {number} size bytes of the frame, its header included
 * @property {number} kbps
 */

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @returns {FrameHeader | null} null where no frame of a known size begins
 */
export function frameHeader(bytes, at) {
  if (at + HEADER_BYTES > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return null;
  const versionBits = (bytes[at + 1] >> 3) & 3;
  const bitRate = bytes[at + 2] >> 4;
  const sampleRate = (bytes[at + 2] >> 2) & 3;
  if (versionBits === 1 || bitRate === 0 || bitRate === 15 || sampleRate === 3) return null;
  const version = versionBits === 3 ? 1 : versionBits === 2 ? 2 : 2.5;
  const rate = SAMPLE_RATES[sampleRate] / { 1: 1, 2: 2, 2.5: 4 }[version];
  const kbps = BIT_RATES[version === 1 ? 0 : 1][bitRate];
  const samples = version === 1 ? 1152 : 576;
  const padding = (bytes[at + 2] >> 1) & 1;
  return {
    version, rate, kbps, samples, channels: bytes[at + 3] >> 6 === 3 ? 1 : 2,
    size: Math.floor((samples / 8) * kbps * 1000 / rate) + padding,
  };
}

/**
 * What the first frame says of the file, if it is a note of the encoder and no sound.
 *
 * @typedef {object} EncoderNote
 * @property {number | null} frames as the encoder counted them, without this one; a claim
 * @property {number} delay samples that the encoder put before the sound
 * @property {number} padding samples that it put behind
 * @property {boolean} trimmed whether delay and padding are known
 */

/**
 * @param {Uint8Array} bytes
 * @param {number} at where the frame begins, all of which is in `bytes`
 * @param {FrameHeader} header
 * @returns {EncoderNote | null}
 */
function encoderNote(bytes, at, { version, channels, size }) {
  const frame = bytes.subarray(at, at + size);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const word = (/** @type {number} */ offset) => (offset + 4 <= frame.length ? view.getUint32(offset) : 0);
  if (text(frame, 36, 4) === 'VBRI') return { frames: word(50) || null, delay: 0, padding: 0, trimmed: false };
  const xing = HEADER_BYTES + (version === 1 ? (channels === 1 ? 17 : 32) : (channels === 1 ? 9 : 17));
  if (!['Xing', 'Info'].includes(text(frame, xing, 4))) return null;
  const flags = word(xing + 4);
  const frames = flags & 1 ? word(xing + 8) || null : null;
  // The four optional fields: the number of frames, of bytes, the table of contents, the quality.
  const encoder = xing + 8 + (flags & 1 ? 4 : 0) + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
  // Others write something else at this place.
  if (!['LAME', 'Lavf', 'Lavc'].includes(text(frame, encoder, 4)) || encoder + 24 > frame.length) return { frames, delay: 0, padding: 0, trimmed: false };
  const delays = word(encoder + 20) & 0xffffff;
  return { frames, delay: delays >> 12, padding: delays & 0xfff, trimmed: true };
}

/** Finds the frames of a file whose bytes come piece by piece. */
export class Mp3Index {
  /** Where each frame begins, bytes from the beginning of the file. @type {number[]} */
  at = [];
  /** Bytes of each frame. @type {number[]} */
  sizes = [];
  /** Samples of each channel, of all frames together. */
  samples = 0;
  /** Seconds of all frames together, the encoder's delay and padding included. */
  seconds = 0;
  /** The largest number of channels, and of samples a second, of any frame; 0 until there is one. */
  channels = 0;
  rate = 0;
  /** Samples of each channel in the first frame, and so in all frames of a file that is `uniform`. */
  samplesPerFrame = 0;
  /** Whether all frames are of one kind, so that they can be played as one stream. */
  uniform = true;
  /** Whether all frames have the same bit rate. */
  constant = true;
  /** @type {EncoderNote | null} */
  note = null;
  /** Bytes that belong neither to a frame nor to a tag. */
  skipped = 0;
  /** Whether all bytes have been looked at. */
  complete = false;

  /** Bytes that came and have not been looked at. @type {Uint8Array} */
  #rest = new Uint8Array(0);
  /** Where they begin in the file. */
  #offset = 0;
  /** Bytes of a tag that have not come yet. */
  #tagLeft = 0;
  /** The kind of the last frame, while the next one is expected right behind it. @type {FrameHeader | null} */
  #locked = null;
  /** @type {FrameHeader | null} */
  #first = null;

  /** How many frames there are. */
  get length() { return this.at.length; }

  /** Bytes that have come so far. */
  get received() { return this.#offset + this.#rest.length; }

  /** @param {Uint8Array} bytes those that follow */
  push(bytes) {
    this.#join(bytes);
    this.#walk(false);
  }

  /** No more bytes follow. */
  end() {
    this.#walk(true);
    this.skipped += this.#rest.length;
    this.#offset += this.#rest.length;
    this.#rest = new Uint8Array(0);
    this.complete = true;
  }

  /** @param {Uint8Array} bytes */
  #join(bytes) {
    if (!this.#rest.length) {
      this.#rest = bytes;
      return;
    }
    const joined = new Uint8Array(this.#rest.length + bytes.length);
    joined.set(this.#rest);
    joined.set(bytes, this.#rest.length);
    this.#rest = joined;
  }

  /** @param {boolean} last whether no more bytes follow */
  #walk(last) {
    const bytes = this.#rest;
    let at = 0;
    for (let step = this.#step(bytes, at, last); step; step = this.#step(bytes, at, last)) at += step;
    // A copy, or the few bytes would keep the whole piece.
    this.#rest = bytes.slice(at);
    this.#offset += at;
  }

  /** @param {Uint8Array} bytes @param {number} at @param {boolean} last @returns {number} bytes that have been looked at; 0: more are needed */
  #step(bytes, at, last) {
    const left = bytes.length - at;
    if (this.#tagLeft && left) return this.#skipTag(left);
    if (left < (last ? HEADER_BYTES : TAG_HEADER_BYTES)) return 0;
    // Only before the first frame: a tag between frames may claim to hold all that follows, and decoders do not believe that.
    this.#tagLeft = this.#first || this.note ? 0 : tagSize(bytes, at);
    if (this.#tagLeft) return this.#skipTag(left);
    const header = frameHeader(bytes, at);
    if (!header) return this.#lose();
    // Where the frame before ended, a frame is believed. Elsewhere these four bytes may be anything, unless another frame follows.
    const believed = this.#locked !== null && alike(this.#locked, header);
    if (!last && left < header.size + (believed ? 0 : HEADER_BYTES)) return 0;
    if (left < header.size || !(believed || followed(bytes, at + header.size, header))) return this.#lose();
    this.#locked = header;
    this.#keep(bytes, at, header);
    return header.size;
  }

  /** @param {number} left bytes that are here @returns {number} those of them that belong to the tag */
  #skipTag(left) {
    const skip = Math.min(this.#tagLeft, left);
    this.#tagLeft -= skip;
    return skip;
  }

  /** @returns {number} */
  #lose() {
    this.#locked = null;
    this.skipped += 1;
    return 1;
  }

  /** @param {Uint8Array} bytes @param {number} at @param {FrameHeader} header */
  #keep(bytes, at, header) {
    const note = encoderNote(bytes, at, header);
    if (!this.#first && note && !this.note) {
      this.note = note;
      return;
    }
    this.#first ??= header;
    this.samplesPerFrame ||= header.samples;
    // Such a note between frames, where two files were put together, is sound to some decoders and not to others.
    if (note || !alike(this.#first, header) || header.channels !== this.#first.channels) this.uniform = false;
    if (header.kbps !== this.#first.kbps) this.constant = false;
    this.channels = Math.max(this.channels, header.channels);
    this.rate = Math.max(this.rate, header.rate);
    this.samples += header.samples;
    this.seconds += header.samples / header.rate;
    this.at.push(this.#offset + at);
    this.sizes.push(header.size);
  }
}

/** @param {Uint8Array} bytes a whole file, or its beginning @returns {Mp3Index} */
export function mp3Frames(bytes) {
  const index = new Mp3Index();
  index.push(bytes);
  index.end();
  return index;
}

/** @param {FrameHeader} a @param {FrameHeader} b whether both can be of one stream */
function alike(a, b) { return a.version === b.version && a.rate === b.rate; }

/** @param {Uint8Array} bytes @param {number} at @param {FrameHeader} header whether what comes there may follow such a frame */
function followed(bytes, at, header) {
  const next = frameHeader(bytes, at);
  return at === bytes.length || (next ? alike(header, next) : text(bytes, at, 3) === 'TAG' || text(bytes, at, 3) === 'APE');
}

/** @param {Uint8Array} bytes @param {number} at @returns {number} bytes of the ID3v2 tag that begins there; 0 where none does */
function tagSize(bytes, at) {
  if (text(bytes, at, 3) !== 'ID3' || at + TAG_HEADER_BYTES > bytes.length) return 0;
  // Seven bits a byte, so that a size never looks like a frame's header.
  const size = bytes.subarray(at + 6, at + 10);
  if (size.some((byte) => byte > 0x7f)) return 0;
  const footer = bytes[at + 5] & 0x10 ? TAG_HEADER_BYTES : 0;
  return TAG_HEADER_BYTES + size.reduce((sum, byte) => sum * 128 + byte, 0) + footer;
}

/** @param {Uint8Array} bytes @param {number} at @param {number} length */
function text(bytes, at, length) { return String.fromCharCode(...bytes.subarray(at, at + length)); }
