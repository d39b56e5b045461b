/** @typedef {import('./measure.js').Sound} Sound */

/** By index of a frame's header: samples of each channel. 6 and 7 stand behind the number of the frame. */
const BLOCK_SIZES = [0, 192, 576, 1152, 2304, 4608, 0, 0, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];
const RATES = [0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
const MOST_CHANNELS = 8;
/** Of the header of a frame. */
const MOST_BYTES = 16;

/** CRC-8 of the polynomial x^8 + x^2 + x + 1. */
const CRC = Uint8Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? (crc << 1) ^ 0x107 : crc << 1;
  return crc & 0xff;
});

/**
 * A FLAC file (RFC 9639). Where a frame ends only its decoder knows, so all that look like the header of one, checksum included, are
 * counted.
 * @param {Uint8Array} bytes
 * @returns {Sound | null}
 */
export function flacSound(bytes) {
  // The first block of metadata is always STREAMINFO; its rate is that of frames that name none.
  const declared = bytes[18] << 12 | bytes[19] << 4 | bytes[20] >> 4;
  const sound = { channels: 0, rate: 0, seconds: 0 };
  for (let at = bytes.indexOf(0xff, 42); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const frame = flacFrame(bytes, at, declared);
    if (!frame) continue;
    sound.channels = Math.max(sound.channels, frame.channels);
    sound.rate = Math.max(sound.rate, frame.rate);
    sound.seconds += frame.samples / frame.rate;
  }
  return sound;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at where the header of a frame may be
 * @param {number} declared samples a second, of frames that do not say
 * @returns {{ channels: number, rate: number, samples: number } | null}
 */
export function flacFrame(bytes, at, declared) {
  if (bytes[at] !== 0xff || (bytes[at + 1] & 0xfe) !== 0xf8) return null;
  const sizeIndex = bytes[at + 2] >> 4;
  const rateIndex = bytes[at + 2] & 15;
  const layout = bytes[at + 3] >> 4;
  if (sizeIndex === 0 || rateIndex === 15 || layout > 10 || bytes[at + 3] & 1) return null;
  let next = at + 4 + numberBytes(bytes[at + 4]);
  let samples = BLOCK_SIZES[sizeIndex];
  if (sizeIndex === 6) samples = bytes[next++] + 1;
  if (sizeIndex === 7) samples = (bytes[next++] << 8 | bytes[next++]) + 1;
  let rate = RATES[rateIndex] || declared;
  if (rateIndex === 12) rate = bytes[next++] * 1000;
  if (rateIndex === 13) rate = bytes[next++] << 8 | bytes[next++];
  if (rateIndex === 14) rate = (bytes[next++] << 8 | bytes[next++]) * 10;
  if (next >= bytes.length || next - at > MOST_BYTES || !rate) return null;
  let crc = 0;
  for (let byte = at; byte < next; byte += 1) crc = CRC[crc ^ bytes[byte]];
  if (crc !== bytes[next]) return null;
  // Above eight channels, the number says how two of them are put together.
  return { channels: layout < MOST_CHANNELS ? layout + 1 : 2, rate, samples };
}

/** Of a number that is written as UTF-8 writes characters, up to 36 bits. @param {number} first its first byte */
function numberBytes(first) {
  const ones = Math.clz32(~(first << 24));
  return Math.max(1, ones);
}
