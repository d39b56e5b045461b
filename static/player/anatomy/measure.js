import { adtsSound } from './adts.js';
import { flacSound } from './flac.js';
import { mp3Frames } from './mp3.js';
import { mp4Sound } from './mp4.js';
import { oggSound } from './ogg.js';
import { wavSound } from './wav.js';

/**
 * What a decoder would make of a file, counted and not believed: headers may claim any length, and decoders go on as long as there
 * are frames. Each count is exact or too high.
 *
 * @typedef {object} Sound
 * @property {number} channels the most of any part
 * @property {number} rate samples a second of each channel, the most of any part
 * @property {number} seconds
 */

const SAMPLE_BYTES = 4;

/**
 * @param {Uint8Array} bytes a whole file, or its beginning
 * @returns {Sound | null} null where it cannot be counted: of another kind, or without any sound
 */
export function measure(bytes) {
  try {
    const sound = soundOf(bytes);
    return sound && sound.channels > 0 && sound.rate > 0 && sound.seconds > 0 ? sound : null;
  } catch (error) {
    // It ends in the middle of what was to be read.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/**
 * How much memory the sound takes once it is decoded: 32 bits a sample, at its own rate and at that of the output, whichever is higher.
 * @param {Sound} sound
 * @param {number} outputRate samples a second
 */
export function decodedBytes({ channels, rate, seconds }, outputRate) {
  return channels * Math.max(rate, outputRate) * seconds * SAMPLE_BYTES;
}

/** @param {Uint8Array} bytes @returns {Sound | null} */
function soundOf(bytes) {
  const at = afterTags(bytes);
  switch (tag(bytes, at)) {
    case 'RIFF': return wavSound(bytes.subarray(at));
    case 'fLaC': return flacSound(bytes.subarray(at));
    case 'OggS': return oggSound(bytes.subarray(at));
  }
  if (tag(bytes, at + 4) === 'ftyp') return mp4Sound(bytes.subarray(at));
  // Layer 0 is AAC, layer III is MP3; both may begin with something else.
  return bytes[at] === 0xff && (bytes[at + 1] & 0xf6) === 0xf0 ? adtsSound(bytes.subarray(at)) : mp3Frames(bytes);
}

/** @param {Uint8Array} bytes */
function afterTags(bytes) {
  let at = 0;
  while (tag(bytes, at).startsWith('ID3') && at + 10 <= bytes.length) {
    at += 10 + synchsafe(bytes, at + 6);
  }
  return at;
}

/** The numbers of ID3 have seven bits a byte, so that they never look like a frame's header. @param {Uint8Array} bytes @param {number} at */
export function synchsafe(bytes, at) { return bytes.subarray(at, at + 4).reduce((sum, byte) => sum * 128 + (byte & 0x7f), 0); }

/** @param {Uint8Array} bytes @param {number} at @returns {string} the four letters there */
export function tag(bytes, at) { return String.fromCharCode(...bytes.subarray(at, at + 4)); }
