import { flacFrame } from './flac.js';
import { tag } from './measure.js';

/** @typedef {import('./measure.js').Sound} Sound */

/** @typedef {{ channels: number, rate: number, samples: (packet: Uint8Array) => number }} Codec */

const PAGE_HEADER_BYTES = 27;
const CONTINUES_PACKET = 1;
const BEGINS_STREAM = 2;
const OPUS_RATE = 48_000;
/** Of a packet: 120 ms. */
const MOST_OPUS_SAMPLES = 5760;
/** So much of a packet says how long it lasts. */
const HEAD_BYTES = 64;

/**
 * An Ogg file (RFC 3533) of Opus, Vorbis or FLAC: all packets of all its streams, wherever they are said to be.
 * @param {Uint8Array} bytes
 * @returns {Sound | null}
 */
export function oggSound(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sound = { channels: 0, rate: 0, seconds: 0 };
  /** @type {Map<number, Codec | null>} */
  const codecs = new Map();
  /** Streams whose last page ended in the middle of a packet. @type {Set<number>} */
  const open = new Set();
  for (let at = 0; at + PAGE_HEADER_BYTES <= bytes.length;) {
    if (tag(bytes, at) !== 'OggS') {
      // Decoders look for the next page, too.
      const next = bytes.indexOf(0x4f, at + 1);
      if (next < 0) break;
      at = next;
      continue;
    }
    const laces = bytes.subarray(at + PAGE_HEADER_BYTES, at + PAGE_HEADER_BYTES + bytes[at + 26]);
    const stream = view.getUint32(at + 14, true);
    let from = at + PAGE_HEADER_BYTES + laces.length;
    let size = 0;
    const flags = bytes[at + 5];
    let first = (flags & BEGINS_STREAM) !== 0;
    let counted = (flags & CONTINUES_PACKET) !== 0 && open.has(stream);
    open.delete(stream);
    for (const [index, lace] of laces.entries()) {
      size += lace;
      if (lace === 255 && index < laces.length - 1) continue;
      if (lace === 255) open.add(stream);
      const packet = bytes.subarray(from, from + Math.min(size, HEAD_BYTES));
      if (first) codecs.set(stream, codecOf(packet));
      const codec = first || counted ? null : codecs.get(stream);
      if (codec) {
        sound.channels = Math.max(sound.channels, codec.channels);
        sound.rate = Math.max(sound.rate, codec.rate);
        sound.seconds += codec.samples(packet) / codec.rate;
      }
      first = false;
      counted = false;
      from += size;
      size = 0;
    }
    at = from;
  }
  return sound;
}

/** @param {Uint8Array} packet the first of a stream @returns {Codec | null} */
function codecOf(packet) {
  if (tag(packet, 0) === 'Opus') return { channels: packet[9], rate: OPUS_RATE, samples: opusSamples };
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet[0] === 1 && tag(packet, 1) === 'vorb') {
    // Each packet but the first gives half of the long block at most.
    const most = 2 ** (packet[28] >> 4) / 2;
    return { channels: packet[11], rate: view.getUint32(12, true), samples: ({ 0: kind }) => (kind & 1 ? 0 : most) };
  }
  if (packet[0] === 0x7f && tag(packet, 1) === 'FLAC') {
    const info = 9 + 4 + 4;
    const rate = packet[info + 10] << 12 | packet[info + 11] << 4 | packet[info + 12] >> 4;
    const channels = (packet[info + 12] >> 1 & 7) + 1;
    return { channels, rate, samples: (frame) => flacFrame(frame, 0, rate)?.samples ?? 0 };
  }
  return null;
}

/** RFC 6716, section 3.1. @param {Uint8Array} packet @returns {number} samples of each channel, at 48 kHz */
function opusSamples(packet) {
  if (!packet.length || ['OpusHead', 'OpusTags'].some((name) => tag(packet, 0) + tag(packet, 4) === name)) return 0;
  const config = packet[0] >> 3;
  const ms = config < 12 ? [10, 20, 40, 60][config & 3] : config < 16 ? [10, 20][config & 1] : [2.5, 5, 10, 20][config & 3];
  const code = packet[0] & 3;
  const frames = code === 0 ? 1 : code < 3 ? 2 : packet[1] & 63;
  return Math.min(MOST_OPUS_SAMPLES, frames * ms * (OPUS_RATE / 1000));
}
