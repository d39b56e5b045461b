import { synchsafe, tag } from './measure.js';
import { boxes } from './mp4.js';

/**
 * What a file calls itself.
 * @typedef {object} Tags
 * @property {string} [title]
 * @property {string[]} [artists]
 */

const MOST_TITLE = 200;
const MOST_ARTIST = 100;
const MOST_ARTISTS = 8;
/** Of pages and boxes that are looked at: names come early. */
const MOST_PARTS = 1000;
/** Of a text. */
const MOST_BYTES = 2000;
/** How each kind of tag calls them. */
const TITLES = ['TITLE', 'TIT2', 'TT2', '\xa9nam', 'INAM'];
const ARTISTS = ['ARTIST', 'TPE1', 'TP1', '\xa9ART', 'IART'];

/**
 * The title and the artists in the tags of MP3 and WAV (ID3v2.2 to 2.4, RIFF INFO), FLAC, Ogg (Vorbis comments) and MP4 (ilst).
 * @param {Uint8Array} bytes the first of a file
 * @returns {Tags | null} null where it says neither
 */
export function tagsOf(bytes) {
  /** @type {[string, string][]} */
  let entries = [];
  try {
    entries = [...entriesOf(bytes)];
  } catch (error) {
    // It ends in the middle of what was to be read.
    if (!(error instanceof RangeError)) throw error;
  }
  const values = (/** @type {string[]} */ names, /** @type {number} */ most) => entries
    .filter(([name]) => names.includes(name)).flatMap(([, value]) => value.split('\0'))
    .map((value) => value.replace(/\p{C}/gu, ' ').trim().slice(0, most)).filter(Boolean);
  const [title] = values(TITLES, MOST_TITLE);
  const artists = [...new Set(values(ARTISTS, MOST_ARTIST))].slice(0, MOST_ARTISTS);
  return title || artists.length ? { ...(title ? { title } : {}), ...(artists.length ? { artists } : {}) } : null;
}

/** @param {Uint8Array} bytes @returns {Iterable<[string, string]>} */
function entriesOf(bytes) {
  if (tag(bytes, 0).startsWith('ID3')) return id3(bytes);
  switch (tag(bytes, 0)) {
    case 'fLaC': return flac(bytes);
    case 'OggS': return comments(secondPacket(bytes));
    case 'RIFF': return info(bytes);
    default: return tag(bytes, 4) === 'ftyp' ? ilst(bytes) : [];
  }
}

/** @param {Uint8Array} bytes */
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @param {Uint8Array} bytes @param {string} [encoding] */
const decode = (bytes, encoding = 'utf-8') => new TextDecoder(encoding).decode(bytes);

/** id3.org, ID3v2.2.0, 2.3.0 and 2.4.0. @param {Uint8Array} file @returns {Generator<[string, string]>} */
function* id3(file) {
  const version = file[3];
  const whole = file.subarray(10, 10 + synchsafe(file, 6));
  const bytes = file[5] & 0x80 && version < 4 ? withoutStuffing(whole) : whole;
  const view = viewOf(bytes);
  const [letters, head] = version === 2 ? [3, 6] : [4, 10];
  let at = 0;
  // Behind the header there may be another one.
  if (file[5] & 0x40 && version > 2) at = version === 4 ? synchsafe(bytes, 0) : view.getUint32(0) + 4;
  while (at + head < bytes.length && bytes[at] !== 0) {
    const name = String.fromCharCode(...bytes.subarray(at, at + letters));
    const size = version === 2 ? bytes[at + 3] << 16 | bytes[at + 4] << 8 | bytes[at + 5] : version === 4 ? synchsafe(bytes, at + 4) : view.getUint32(at + 4);
    const from = at + head;
    if (name.startsWith('T')) yield [name, id3Text(bytes.subarray(from, from + size))];
    at = from + size;
  }
}

/** @param {Uint8Array} bytes the first says how the others are to be read */
function id3Text(bytes) {
  const text = bytes.subarray(1);
  switch (bytes[0]) {
    case 0: return decode(text, 'windows-1252');
    case 1: return decode(text, text[0] === 0xfe ? 'utf-16be' : 'utf-16le');
    case 2: return decode(text, 'utf-16be');
    default: return decode(text);
  }
}

/** A zero was put behind each 255, so that nothing looks like a frame of sound. @param {Uint8Array} bytes */
function withoutStuffing(bytes) { return bytes.filter((byte, at) => byte !== 0 || bytes[at - 1] !== 0xff); }

/** @param {Uint8Array} bytes @returns {Iterable<[string, string]>} */
function flac(bytes) {
  for (let at = 4; at + 4 < bytes.length;) {
    const size = bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
    if ((bytes[at] & 0x7f) === 4) return comments(bytes.subarray(at + 4, at + 4 + size));
    if (bytes[at] & 0x80) break;
    at += 4 + size;
  }
  return [];
}

/** Of an Ogg file: the comments are in its second packet, which may go over several pages. @param {Uint8Array} bytes */
function secondPacket(bytes) {
  /** @type {number[][]} */
  const parts = [];
  let packet = 0;
  for (let at = 0, pages = 0; at + 27 < bytes.length && tag(bytes, at) === 'OggS' && pages < MOST_PARTS; pages += 1) {
    const laces = bytes.subarray(at + 27, at + 27 + bytes[at + 26]);
    at += 27 + laces.length;
    for (const lace of laces) {
      if (packet === 1) parts.push([at, at + lace]);
      at += lace;
      if (lace < 255) packet += 1;
    }
    if (packet > 1) break;
  }
  const joined = new Uint8Array(parts.reduce((sum, [from, to]) => sum + to - from, 0));
  let to = 0;
  for (const [from, end] of parts) {
    joined.set(bytes.subarray(from, end), to);
    to += end - from;
  }
  // What the codec puts in front of them.
  const head = { 'Opus': 8, '\x03vor': 7 }[tag(joined, 0)] ?? ((joined[0] & 0x7f) === 4 ? 4 : 0);
  return joined.subarray(head);
}

/** Vorbis comments: xiph.org/vorbis/doc/v-comment.html. @param {Uint8Array} bytes @returns {Generator<[string, string]>} */
function* comments(bytes) {
  const view = viewOf(bytes);
  let at = 4 + view.getUint32(0, true);
  const count = view.getUint32(at, true);
  at += 4;
  for (let entry = 0; entry < count && entry < MOST_PARTS; entry += 1) {
    const size = view.getUint32(at, true);
    const text = decode(bytes.subarray(at + 4, at + 4 + Math.min(size, MOST_BYTES)));
    const equals = text.indexOf('=');
    if (equals > 0) yield [text.slice(0, equals).toUpperCase(), text.slice(equals + 1)];
    at += 4 + size;
  }
}

/** @param {Uint8Array} bytes @returns {Generator<[string, string]>} */
function* info(bytes) {
  const view = viewOf(bytes);
  for (let at = 12, parts = 0; at + 8 < bytes.length && parts < MOST_PARTS; parts += 1) {
    const size = view.getUint32(at + 4, true);
    // What is within a list is read like what is beside it.
    if (tag(bytes, at) === 'LIST') at += 12;
    else {
      if (tag(bytes, at).startsWith('I')) yield [tag(bytes, at), decode(bytes.subarray(at + 8, at + 8 + Math.min(size, MOST_BYTES)))];
      at += 8 + size + (size & 1);
    }
  }
}

/** @param {Uint8Array} bytes @returns {Generator<[string, string]>} */
function* ilst(bytes) {
  for (const { name, at, end } of boxes(bytes, { moov: 0, udta: 0, meta: 4, ilst: 0 })) {
    if (name.startsWith('\xa9') && tag(bytes, at + 4) === 'data') yield [name, decode(bytes.subarray(at + 16, Math.min(end, at + MOST_BYTES)))];
  }
}
