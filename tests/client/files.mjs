// Files of sound, made by hand.

const MOST_FLAC_SAMPLES = 65_535;

/**
 * The header of a WAV file of 16 bits a sample.
 * @param {number} rate samples a second
 * @param {number} channels
 * @param {number} bytes of the whole file
 */
export function wavHeader(rate, channels, bytes) {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(bytes - 8, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * channels * 2, 28);
  header.writeUInt16LE(channels * 2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(bytes - 44, 40);
  return header;
}

/**
 * A FLAC file of nothing, at 48 kHz: each frame holds 65 535 samples of each channel in some thirty bytes.
 * @param {{ channels: number, frames: number, declaredSamples: number }} options `declaredSamples`: what the header says there are
 */
export function flacOfSilence({ channels, frames, declaredSamples }) {
  const head = Buffer.alloc(42);
  head.write('fLaC', 0);
  head.writeUInt32BE(0x80000022, 4);
  head.writeUInt16BE(MOST_FLAC_SAMPLES, 8);
  head.writeUInt16BE(MOST_FLAC_SAMPLES, 10);
  head.writeUInt32BE((48_000 << 12 | (channels - 1) << 9 | 15 << 4) >>> 0, 18);
  head.writeUInt32BE(declaredSamples, 22);
  return Buffer.concat([head, ...Array.from({ length: frames }, (_, number) => silentFrame(channels, number))]);
}

/** @param {number} channels @param {number} number */
function silentFrame(channels, number) {
  // A size of 16 bits behind the number, 48 kHz, 16 bits a sample.
  const header = [0xff, 0xf8, 0x7a, (channels - 1) << 4 | 0x08, ...Buffer.from(String.fromCodePoint(number)), (MOST_FLAC_SAMPLES - 1) >> 8, (MOST_FLAC_SAMPLES - 1) & 255];
  header.push(crc(header, 8, 0x07));
  // Each channel: one value for all of its samples.
  const frame = [...header, ...Array.from({ length: channels }, () => [0, 0, 0]).flat()];
  const sum = crc(frame, 16, 0x8005);
  return Buffer.from([...frame, sum >> 8, sum & 255]);
}

/** @param {number[]} bytes @param {number} bits @param {number} polynomial */
function crc(bytes, bits, polynomial) {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << (bits - 8);
    for (let bit = 0; bit < 8; bit += 1) sum = (sum & (1 << (bits - 1)) ? (sum << 1) ^ polynomial : sum << 1) & (2 ** bits - 1);
  }
  return sum;
}
