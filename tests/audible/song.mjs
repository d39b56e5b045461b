// A song made to be measured: notes, noise and a quiet bed that never return, so that every third of a
// second of it fits itself at one place only. The same seed gives the same song.

import { seededRandom } from '../client/support.mjs';

export const SAMPLE_RATE = 48_000;
const SCALE = [0, 3, 5, 7, 10];

/**
 * @param {number} seconds
 * @param {number} seed
 * @returns {Int16Array} mono, at SAMPLE_RATE
 */
export function makeSong(seconds, seed) {
  const random = seededRandom(seed);
  const length = Math.round(seconds * SAMPLE_RATE);
  const mix = new Float32Array(length);
  const between = (/** @type {number} */ low, /** @type {number} */ high) => low + Math.floor(random() * (high - low));

  /** @param {number} at @param {number} lasts @param {number} hertz @param {number} loud @param {number} partials */
  function note(at, lasts, hertz, loud, partials) {
    const first = Math.floor(at * SAMPLE_RATE);
    const count = Math.min(length - first, Math.floor(lasts * SAMPLE_RATE));
    const attack = 0.008 * SAMPLE_RATE;
    for (let partial = 1; partial <= partials; partial += 1) {
      const step = (2 * Math.PI * hertz * partial * (1 + (random() - 0.5) * 0.002)) / SAMPLE_RATE;
      // A sine by recurrence: no call for each of millions of samples.
      const twice = 2 * Math.cos(step);
      const phase = random() * 2 * Math.PI;
      let before = Math.sin(phase - step);
      let earlier = Math.sin(phase - 2 * step);
      for (let i = 0; i < count; i += 1) {
        const now = twice * before - earlier;
        earlier = before;
        before = now;
        mix[first + i] += (now * loud / partial) * Math.min(1, i / attack) * (1 - i / count);
      }
    }
  }

  for (let at = 0; at < seconds; at += 0.18 + random() * 0.3) {
    note(at, 0.15 + random() * 0.5, 261.63 * 2 ** ((SCALE[between(0, 5)] + 12 * between(0, 3)) / 12), 0.1, 4);
  }
  for (let at = 0; at < seconds; at += 0.7 + random() * 0.6) note(at, 0.6, 65.41 * 2 ** (SCALE[between(0, 5)] / 12), 0.16, 5);
  for (let at = 0; at < seconds; at += 0.08 + random() * 0.2) {
    const first = Math.floor(at * SAMPLE_RATE);
    const count = Math.min(length - first, Math.floor((0.03 + random() * 0.12) * SAMPLE_RATE));
    const colour = 0.05 + random() * 0.9;
    let low = 0;
    for (let i = 0; i < count; i += 1) {
      low += colour * (random() * 2 - 1 - low);
      mix[first + i] += 0.3 * low * Math.exp((-4 * i) / count);
    }
  }
  // The bed: no window is ever silent.
  for (let i = 0; i < length; i += 1) mix[i] += 0.04 * (random() * 2 - 1);

  let peak = 0;
  for (const sample of mix) peak = Math.max(peak, Math.abs(sample));
  return Int16Array.from(mix, (sample) => Math.round((sample / peak) * 0.8 * 32767));
}

/** @param {Int16Array} samples mono @returns {Buffer} a WAV file */
export function wavFile(samples) {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(SAMPLE_RATE, 24);
  header.writeUInt32LE(SAMPLE_RATE * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]);
}
