import { AAC_RATES, AAC_SAMPLES, aacChannels } from './adts.js';
import { tag } from './measure.js';

/** @typedef {import('./measure.js').Sound} Sound @typedef {{ at: number, end: number, name: string }} Box */

const HEADER_BYTES = 8;
const MP3_SAMPLES = 1152;
const AAC_TYPES = [0x40, 0x66, 0x67, 0x68];
const MP3_TYPES = [0x69, 0x6b];
const CONTAINERS = { moov: 0, trak: 0, mdia: 0, minf: 0, stbl: 0, moof: 0, traf: 0 };

/**
 * AAC, MP3 or ALAC in an MP4 file (ISO/IEC 14496-12 and 14496-14): as many frames as it lists, each as long as its codec makes them.
 * @param {Uint8Array} bytes
 * @returns {Sound | null} null also where it has sound of any other kind
 */
export function mp4Sound(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {{ channels: number, rate: number, samples: number } | null} */
  let codec = null;
  let frames = 0;
  for (const { name, at } of boxes(bytes, CONTAINERS)) {
    if (name === 'stsd') {
      const next = codecOf(bytes, view, at);
      if (next === undefined) continue;
      if (!next) return null;
      codec = next;
    } else if (name === 'stsz') frames += view.getUint32(at + 8);
    else if (name === 'stz2') frames += view.getUint32(at + 8);
    else if (name === 'trun') frames += view.getUint32(at + 4);
  }
  return codec && { channels: codec.channels, rate: codec.rate, seconds: (frames * codec.samples) / codec.rate };
}

/**
 * @param {Uint8Array} bytes
 * @param {Record<string, number>} containers the boxes to look into, each with the bytes that stand before what is in it
 * @returns {Generator<Box>} all others, however deep
 */
export function* boxes(bytes, containers) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const name = tag(bytes, at + 4);
    const short = view.getUint32(at);
    const size = short === 1 ? Number(view.getBigUint64(at + 8)) : short;
    const head = short === 1 ? 2 * HEADER_BYTES : HEADER_BYTES;
    if (Object.hasOwn(containers, name)) at += head + containers[name];
    else {
      yield { name, at: at + head, end: at + size };
      // To the end of the file, where it does not say.
      if (size < head) return;
      at += size;
    }
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {DataView} view
 * @param {number} at of the table of descriptions
 * @returns {{ channels: number, rate: number, samples: number } | null | undefined} undefined where it is no sound
 */
function codecOf(bytes, view, at) {
  const entry = at + 8;
  const name = tag(bytes, entry + 4);
  const rate = view.getUint16(entry + 32);
  const channels = view.getUint16(entry + 24);
  const end = Math.min(bytes.length, entry + view.getUint32(entry));
  if (name === 'mp4a') return aacOf(bytes.subarray(entry, end)) ?? null;
  if (name === 'alac') {
    const config = find(bytes, 'alac', entry + 8, end);
    return config < 0 ? null : { channels: bytes[config + 21] || channels, rate: view.getUint32(config + 32) || rate, samples: view.getUint32(config + 12) };
  }
  return ['avc1', 'hvc1', 'hev1', 'av01', 'vp09', 'jpeg', 'png ', 'tx3g', 'text', 'mp4v'].includes(name) ? undefined : null;
}

/** @param {Uint8Array} entry of an `mp4a` */
function aacOf(entry) {
  const esds = find(entry, 'esds', 8, entry.length);
  if (esds < 0) return null;
  let type = 0;
  // Descriptors: a tag, a length of up to four bytes, what it describes.
  for (let at = esds + 12; at + 2 < entry.length;) {
    const tagged = entry[at++];
    let size = 0;
    for (let more = true; more; at += 1) {
      more = (entry[at] & 0x80) !== 0;
      size = size << 7 | (entry[at] & 0x7f);
    }
    if (tagged === 3) at += 3;
    else if (tagged === 4) {
      type = entry[at];
      at += 13;
      if (MP3_TYPES.includes(type)) return { channels: 2, rate: 48_000, samples: 3 * MP3_SAMPLES };
    } else if (tagged === 5 && AAC_TYPES.includes(type)) return aacConfig(entry.subarray(at, at + size));
    else return null;
  }
  return null;
}

/** @param {Uint8Array} config AudioSpecificConfig, ISO/IEC 14496-3, 1.6.2.1 */
function aacConfig(config) {
  const rate = AAC_RATES[(config[0] & 7) << 1 | config[1] >> 7];
  // Of other objects and of rates that are spelt out nothing is known that could be relied on.
  if (!rate || config[0] >> 3 === 31) return null;
  return { channels: aacChannels(config[1] >> 3 & 15), rate, samples: AAC_SAMPLES };
}

/** @param {Uint8Array} bytes @param {string} name @param {number} from @param {number} end @returns {number} where its box begins, -1 where there is none */
function find(bytes, name, from, end) {
  for (let at = bytes.indexOf(name.charCodeAt(0), from); at >= 0 && at < end; at = bytes.indexOf(name.charCodeAt(0), at + 1)) {
    if (tag(bytes, at) === name) return at - 4;
  }
  return -1;
}
