// Where in the song a moment of a recording is.

import { fft, inverse } from './fft.mjs';
import { SAMPLE_RATE } from './song.mjs';

/** A window is this long: a third of a second. */
export const WINDOW = 16_384;
const FRAME = 2 * WINDOW;
/** So far from where it is expected a window is found without looking through the whole song. */
const REACH = 8_000;
/** So far off a piece may be that is laid on what it should be, samples. */
const CLOSE = 480;
const FULL = { samples: WINDOW, rate: 1, below: 14_000 };
const LOW = { samples: WINDOW, rate: 1, below: 3_000 };
// A window that was played faster or slower is smeared, unless the same is done to what it is compared with.
const BENT = [1.003, 0.997, 1.006, 0.994, 1.01, 0.99, 1.015, 0.985, 1.02, 0.98, 1.03, 0.97, 1]
  .map((rate) => ({ samples: WINDOW / 4, rate, below: 4_000 }));
/** Two pieces that are the same, laid on each other, reach 1; two that are not, about 0.1. */
const SAME = 0.4;
const COARSE = 8;
const COARSE_FRAME = 65_536;
const COARSE_SCORE = 9;

/** @typedef {{ position: number, quality: number }} Place where the window's middle is, seconds of the song; 0 to 1 */

export class Song {
  #samples;
  #thin;

  /** @param {Int16Array} samples the song itself */
  constructor(samples) {
    this.#samples = samples;
    this.#thin = thin(samples);
  }

  /**
   * @param {Int16Array} recording
   * @param {number} start the window's first sample
   * @param {number} guess seconds of the song at which its middle may be
   * @returns {Place | null}
   */
  near(recording, start, guess) {
    const middle = start + WINDOW / 2;
    const expected = Math.round(guess * SAMPLE_RATE);
    const close = this.#laid(recording, middle, expected, FULL) ?? this.#laid(recording, middle, expected, LOW);
    if (close) return close;
    const wide = correlate(recording, middle, this.#samples, expected, FULL, REACH);
    const found = this.#laid(recording, middle, expected + Math.round(wide.lag), FULL);
    if (found) return found;
    let best = { lag: 0, quality: 0, how: FULL };
    for (const how of BENT) {
      const bent = correlate(recording, middle, this.#samples, expected, how, how.samples);
      if (bent.quality > best.quality) best = { ...bent, how };
    }
    return this.#laid(recording, middle, expected + Math.round(best.lag), best.how);
  }

  /**
   * Looks through the whole song.
   * @param {Int16Array} recording @param {number} start
   * @returns {Place | null}
   */
  search(recording, start) {
    const far = this.#far(recording, start);
    return far === null ? null : this.near(recording, start, far);
  }

  /** @param {Int16Array} recording @param {number} middle @param {number} at @param {typeof FULL} how @returns {Place | null} */
  #laid(recording, middle, at, how) {
    const { lag, quality } = correlate(recording, middle, this.#samples, at, how, 0);
    return quality < SAME ? null : { position: (at + lag) / SAMPLE_RATE, quality };
  }

  /** @param {Int16Array} recording @param {number} start @returns {number | null} seconds, of the window's middle */
  #far(recording, start) {
    const piece = thin(recording.subarray(start, start + WINDOW));
    const re = new Float64Array(COARSE_FRAME);
    const im = new Float64Array(COARSE_FRAME);
    re.set(piece);
    fft(re, im);
    const [pieceRe, pieceIm] = [re.slice(), im.slice()];
    let best = { score: 0, at: 0 };
    const hop = COARSE_FRAME - piece.length;
    for (let from = 0; from < this.#thin.length; from += hop) {
      re.fill(0);
      im.fill(0);
      re.set(this.#thin.subarray(from, from + COARSE_FRAME));
      fft(re, im);
      for (let i = 0; i < COARSE_FRAME; i += 1) {
        const x = re[i] * pieceRe[i] + im[i] * pieceIm[i];
        const y = im[i] * pieceRe[i] - re[i] * pieceIm[i];
        const size = Math.hypot(x, y) || 1;
        re[i] = x / size;
        im[i] = y / size;
      }
      inverse(re, im);
      const count = Math.min(hop, this.#thin.length - from - piece.length);
      let power = 0;
      for (let i = 0; i < count; i += 1) power += re[i] * re[i];
      const deviation = Math.sqrt(power / count) || 1;
      for (let i = 0; i < count; i += 1) {
        if (re[i] / deviation > best.score) best = { score: re[i] / deviation, at: from + i };
      }
    }
    return best.score < COARSE_SCORE ? null : (best.at * COARSE + WINDOW / 2) / SAMPLE_RATE;
  }
}

/**
 * Fewer samples of it, around 1 kHz: without the low tones that all moments share, and without the high ones that a shift by
 * less than one of these samples turns around.
 * @param {Int16Array} samples
 */
function thin(samples) {
  const out = new Float64Array(Math.floor(samples.length / COARSE));
  const last = [0, 0, 0];
  for (let i = 0; i < out.length; i += 1) {
    let sum = 0;
    for (let k = 0; k < COARSE; k += 1) sum += samples[i * COARSE + k];
    out[i] = sum + last[0] - last[1] - last[2];
    last.pop();
    last.unshift(sum);
  }
  return out;
}

const re = new Float64Array(FRAME);
const im = new Float64Array(FRAME);
const crossRe = new Float64Array(FRAME);
const crossIm = new Float64Array(FRAME);

/**
 * By how many samples a piece of `a` lies behind where it is expected in `b`: the phases of both are compared and all loudness
 * is left out, which makes the peak as sharp as it can be.
 *
 * @param {Int16Array} a @param {number} aMiddle @param {Int16Array} b @param {number} bMiddle
 * @param {{ samples: number, rate: number, below: number }} how the piece's length, how fast it may have been played, and above
 *   how many hertz nothing counts
 * @param {number} reach how much more of `b` is looked at on either side; 0 lays one piece on the other
 */
function correlate(a, aMiddle, b, bMiddle, { samples, rate, below }, reach) {
  const half = samples / 2;
  if (bMiddle < half + reach || bMiddle + half + reach > b.length) return { lag: 0, quality: 0 };
  re.fill(0);
  im.fill(0);
  for (let i = 0; i < samples; i += 1) {
    const from = aMiddle + (i - half) / rate;
    const whole = Math.floor(from);
    const rest = from - whole;
    re[i] = ((a[whole] ?? 0) * (1 - rest) + (a[whole + 1] ?? 0) * rest) * fade(i, samples);
  }
  for (let i = -reach; i < samples + reach; i += 1) {
    // What lies before the piece goes to the end, as the transform goes round.
    im[i < 0 ? FRAME + i : i] = b[bMiddle - half + i] * (reach ? 1 : fade(i, samples));
  }
  // Two real signals go through one transform: one as the real part, one as the imaginary.
  fft(re, im);
  let weight = 0;
  for (let i = 0; i < FRAME; i += 1) {
    const j = i === 0 ? 0 : FRAME - i;
    const aRe = (re[i] + re[j]) / 2;
    const aIm = (im[i] - im[j]) / 2;
    const bRe = (im[i] + im[j]) / 2;
    const bIm = (re[j] - re[i]) / 2;
    const hertz = (Math.min(i, j) * SAMPLE_RATE) / FRAME;
    const x = aRe * bRe + aIm * bIm;
    const y = aRe * bIm - aIm * bRe;
    const size = Math.hypot(x, y);
    const used = hertz > 60 && hertz < below && size > 0;
    crossRe[i] = used ? x / size : 0;
    crossIm[i] = used ? y / size : 0;
    if (used) weight += 1;
  }
  inverse(crossRe, crossIm);
  const at = (/** @type {number} */ lag) => crossRe[(lag + FRAME) % FRAME];
  const far = reach || Math.min(CLOSE, samples / 8);
  let peak = 0;
  for (let lag = -far; lag <= far; lag += 1) if (at(lag) > at(peak)) peak = lag;
  const [left, middle, right] = [at(peak - 1), at(peak), at(peak + 1)];
  const bend = left - 2 * middle + right;
  return { lag: peak + (bend ? (0.5 * (left - right)) / bend : 0), quality: middle / weight };
}

/** @param {number} i @param {number} samples */
function fade(i, samples) { return 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (samples - 1)); }
