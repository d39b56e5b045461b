import { tag } from './measure.js';

/** @typedef {import('./measure.js').Sound} Sound */

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * A WAV file: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", and `WAVEFORMATEXTENSIBLE`. Only what is not
 * compressed in it can be counted.
 * @param {Uint8Array} bytes
 * @returns {Sound | null}
 */
export function wavSound(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true);
    if (tag(bytes, at) === 'fmt ') format = formatOf(view, at + 8, size);
    else if (tag(bytes, at) === 'data') {
      if (!format) return null;
      // Whatever it says of its size, there is no more than there is; and some decoders take all that follows.
      const { channels, rate, sampleBytes } = format;
      return { channels, rate, seconds: (bytes.length - at - 8) / (channels * sampleBytes * rate) };
    }
    at += 8 + size + (size & 1);
  }
  return null;
}

/** @param {DataView} view @param {number} at @param {number} size */
function formatOf(view, at, size) {
  const name = view.getUint16(at, true);
  const kind = name === EXTENSIBLE && size >= 26 ? view.getUint16(at + 24, true) : name;
  const bits = view.getUint16(at + 14, true);
  if ((kind !== PCM && kind !== FLOAT) || bits < 8 || bits % 8) return null;
  return { channels: view.getUint16(at + 2, true), rate: view.getUint32(at + 4, true), sampleBytes: bits / 8 };
}
