/** How late a loudspeaker is, from clicks: tapped along with, or heard by a microphone. Pure functions. */

/** A tap further from every click than this was none along with them. */
const TAP_REACH_MS = 600;
const LEAST_TAPS = 5;
/** Taps that agree less than this about the delay say nothing. */
const MOST_SCATTER_MS = 60;
/** The click stands out of the noise by this factor. */
const STANDS_OUT = 8;

/**
 * Milliseconds by which taps come after clicks: the median over all taps.
 *
 * @param {number[]} clicksMs when each click should have been heard, in order
 * @param {number[]} tapsMs
 * @returns {{ lateMs: number | null, taps: number }} null while there are too few taps, or they do not agree
 */
export function latenessOfTaps(clicksMs, tapsMs) {
  // Which click was meant is seen from all taps together: a delay of half a beat must not be told two ways.
  const late = tapsMs.flatMap((tap) => {
    const nearest = clicksMs.map((click) => tap - click).filter((by) => by > -TAP_REACH_MS / 3 && by < TAP_REACH_MS);
    return nearest.length ? [nearest.reduce((least, by) => (Math.abs(by) < Math.abs(least) ? by : least))] : [];
  });
  if (late.length < LEAST_TAPS) return { lateMs: null, taps: late.length };
  const middle = median(late);
  const scatter = median(late.map((by) => Math.abs(by - middle)));
  return { lateMs: scatter > MOST_SCATTER_MS ? null : middle, taps: late.length };
}

/**
 * The sound of a click: a short fall through the frequencies, which no room makes by itself.
 * @param {number} rate samples a second
 */
export function clickSound(rate) {
  const length = Math.round(0.02 * rate);
  return Float32Array.from({ length }, (_, i) => {
    const at = i / rate;
    const phase = 2 * Math.PI * (5000 * at - (4000 / (2 * 0.02)) * at * at);
    return 0.6 * Math.sin(phase) * Math.sin((Math.PI * i) / length) ** 2;
  });
}

/**
 * Where a click begins in what a microphone heard.
 *
 * @param {Float32Array} heard
 * @param {number} rate
 * @returns {number | null} seconds; null where nothing stands out
 */
export function findClick(heard, rate) {
  const click = clickSound(rate);
  let best = { size: 0, at: 0 };
  let sum = 0;
  const count = heard.length - click.length;
  for (let at = 0; at < count; at += 1) {
    let match = 0;
    for (let i = 0; i < click.length; i += 1) match += click[i] * heard[at + i];
    const size = Math.abs(match);
    sum += size;
    if (size > best.size) best = { size, at };
  }
  return count > 0 && best.size > STANDS_OUT * (sum / count) ? best.at / rate : null;
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
