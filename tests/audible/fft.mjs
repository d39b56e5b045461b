// The fast Fourier transform, complex, in place, for lengths that are powers of two. Enough for a
// correlation, and one dependency less.

/** @type {Map<number, {cos: Float64Array, sin: Float64Array, swap: Uint32Array}>} */
const plans = new Map();

/** @param {number} n */
function plan(n) {
  let known = plans.get(n);
  if (!known) {
    const cos = new Float64Array(n / 2);
    const sin = new Float64Array(n / 2);
    for (let i = 0; i < n / 2; i += 1) {
      cos[i] = Math.cos((2 * Math.PI * i) / n);
      sin[i] = Math.sin((2 * Math.PI * i) / n);
    }
    const swap = new Uint32Array(n);
    for (let i = 1; i < n; i += 1) swap[i] = (swap[i >> 1] >> 1) | (i & 1 ? n >> 1 : 0);
    plans.set(n, (known = { cos, sin, swap }));
  }
  return known;
}

/** @param {Float64Array} re @param {Float64Array} im */
export function fft(re, im) {
  const n = re.length;
  const { cos, sin, swap } = plan(n);
  for (let i = 0; i < n; i += 1) {
    const j = swap[i];
    if (j <= i) continue;
    [re[i], re[j]] = [re[j], re[i]];
    [im[i], im[j]] = [im[j], im[i]];
  }
  for (let half = 1; half < n; half *= 2) {
    const stride = n / (2 * half);
    for (let start = 0; start < n; start += 2 * half) {
      for (let k = 0, w = 0; k < half; k += 1, w += stride) {
        const a = start + k;
        const b = a + half;
        const x = re[b] * cos[w] + im[b] * sin[w];
        const y = im[b] * cos[w] - re[b] * sin[w];
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

/** The way back, not divided by the length. @param {Float64Array} re @param {Float64Array} im */
export function inverse(re, im) { fft(im, re); }
