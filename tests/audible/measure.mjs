// From a recording of all listeners to figures: how far apart they are, how soon they were together, and what was torn.

import { WINDOW } from './place.mjs';
import { SAMPLE_RATE } from './song.mjs';

const HOP = SAMPLE_RATE / 5;
const HALF_S = WINDOW / 2 / SAMPLE_RATE;
/** What is below this for so long is a hole in the music: the songs of the rig are never quiet. */
const SILENT = 32;
const HOLE_S = 0.01;
const LEAST_HEARD = 0.6;
/** A window with music and silence in it says nothing about when the one became the other. */
const WHOLLY = 0.97;
const CLOSE_MS = 10;
/** Together for so long is together to stay. */
const STAYING_S = 2;
/** How finely the moment is looked for from which they are together. */
const FINE_S = 0.02;
/** Further than bending the rate may carry anybody between two windows, seconds. */
const JUMP_S = 0.012;

/**
 * @typedef {object} Window
 * @property {number} at its middle, seconds of the recording
 * @property {(number | null)[]} positions where each listener is in the song, seconds; null where nothing can be recognised
 * @property {(number | null)[]} songs which song each listener hears
 * @property {boolean[]} heard
 * @property {number[]} shares how much of it each is heard
 * @property {number | null} spreadMs the largest distance between any two; null unless all are placed
 */

/**
 * @typedef {{ song?: number, beyond?: number, silent?: boolean }} Goal a song and seconds of it, or nothing to be heard
 *
 * @param {import('./sound.mjs').Recording} recording
 * @param {import('./place.mjs').Song[]} songs the likeliest first
 * @returns {Window[]}
 */
export function windowsOf({ channels }, songs) {
  /** @type {Known[]} */
  const last = channels.map(() => null);
  /** @type {Window[]} */
  const windows = [];
  for (let start = 0; start + WINDOW <= channels[0].length; start += HOP) {
    const window = windowAt(channels, start, songs, last);
    windows.push(window);
    knownFrom(window).forEach((place, index) => { if (place) last[index] = place; });
  }
  return windows;
}

/** Where a listener was at a moment, both seconds. @typedef {{ at: number, position: number, song: number } | null} Known */

/** @param {Window} window @returns {Known[]} of each listener */
function knownFrom({ at, positions, songs }) {
  return positions.map((position, index) => {
    const song = songs[index];
    return position === null || song === null ? null : { at, position, song };
  });
}

/**
 * @param {Int16Array[]} channels @param {number} start the first sample @param {import('./place.mjs').Song[]} songs
 * @param {Known[]} known of each listener
 * @returns {Window}
 */
function windowAt(channels, start, songs, known) {
  const at = start / SAMPLE_RATE + HALF_S;
  const shares = channels.map((channel) => loud(channel, start));
  const heard = shares.map((share) => share >= LEAST_HEARD);
  /** @type {({ position: number, song: number } | null)[]} */
  const places = [];
  for (const [index, channel] of channels.entries()) {
    const earlier = known[index];
    const own = earlier && { position: earlier.position + at - earlier.at, song: earlier.song };
    const guesses = [own, ...places].filter((guess) => guess !== null);
    places.push(heard[index] ? place(channel, start, songs, guesses) : null);
  }
  const positions = places.map((found) => found && found.position);
  const all = places.every((found) => found !== null && found.song === places[0]?.song);
  const placed = /** @type {number[]} */ (positions);
  return {
    at, heard, positions, songs: places.map((found) => found && found.song), shares,
    spreadMs: all ? 1000 * (Math.max(...placed) - Math.min(...placed)) : null,
  };
}

/**
 * @param {Int16Array} channel @param {number} start @param {import('./place.mjs').Song[]} songs
 * @param {{ position: number, song: number }[]} guesses
 */
function place(channel, start, songs, guesses) {
  for (const { position, song } of guesses) {
    const found = songs[song].near(channel, start, position);
    if (found) return { position: found.position, song };
  }
  for (const [song, each] of songs.entries()) {
    const found = each.search(channel, start);
    if (found) return { position: found.position, song };
  }
  return null;
}

/** The share of a window that is not silent. @param {Int16Array} channel @param {number} start */
function loud(channel, start) {
  const piece = 240;
  let count = 0;
  for (let at = start; at + piece <= start + WINDOW; at += piece) if (!quiet(channel, at, piece)) count += 1;
  return count / Math.floor(WINDOW / piece);
}

/** @param {Int16Array} channel @param {number} at @param {number} samples */
function quiet(channel, at, samples) {
  for (let i = at; i < at + samples; i += 1) if (channel[i] > SILENT || channel[i] < -SILENT) return false;
  return true;
}

/** @param {number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
}

/** What is counted of a recording, in seconds of it. @typedef {{ from: number, to: number }} Span */

/** @param {Window[]} windows @param {Span[]} spans */
function within(windows, spans) {
  return windows.filter(({ at }) => spans.some(({ from, to }) => at - HALF_S >= from && at + HALF_S <= to));
}

/** @param {Window[]} windows @param {Span[]} spans */
export function spreadOf(windows, spans) {
  const part = within(windows, spans);
  const spreads = part.flatMap(({ spreadMs }) => spreadMs ?? []);
  const sounding = part.filter(({ heard }) => heard.some(Boolean));
  return {
    medianMs: quantile(spreads, 0.5), p95Ms: quantile(spreads, 0.95), worstMs: quantile(spreads, 1), windows: spreads.length,
    missing: sounding.length ? 1 - spreads.length / sounding.length : 0,
  };
}

/**
 * Seconds from a moment until all are within 10 ms, and stay so for two seconds.
 *
 * @param {import('./sound.mjs').Recording} recording
 * @param {import('./place.mjs').Song[]} songs
 * @param {Window[]} windows of that recording
 * @param {number} from seconds of the recording
 * @param {Goal} goal where they are to be
 * @returns {number | null} to 0.02 s; null: never
 */
export function togetherAfter({ channels }, songs, windows, from, { song = 0, beyond = 0, silent = false } = {}) {
  /** @param {Window} window */
  const close = ({ spreadMs, positions, songs: theirs, heard }) => (silent ? !heard.some(Boolean) : spreadMs !== null && spreadMs < CLOSE_MS
    && theirs.every((each) => each === song) && positions.every((position) => (position ?? 0) >= beyond));
  const later = windows.filter(({ at }) => at >= from);
  const first = later.find((one, index) => {
    const following = later.slice(index).filter(({ at }) => at <= one.at + STAYING_S);
    return following.length > 1 && following.every(close);
  });
  if (!first) return null;
  // From there it is looked back more finely, and with a known place: of a song that begins bent, that is what it takes.
  const known = knownFrom(first);
  const look = (/** @type {number} */ at) => {
    const start = Math.round((at - HALF_S) * SAMPLE_RATE);
    if (start < 0 || start + WINDOW > channels[0].length) return { together: false, whole: false };
    const window = windowAt(channels, start, songs, known);
    const whole = window.shares.every((share) => (silent ? 1 - share : share) >= WHOLLY);
    return { together: whole && close(window), whole };
  };
  let since = first.at;
  // It may be of a moment in which not all of it sounds yet.
  while (since < first.at + 2 * HALF_S && !look(since).together) since += FINE_S;
  let before = look(since - FINE_S);
  while (since - FINE_S >= from && before.together) {
    since -= FINE_S;
    before = look(since - FINE_S);
  }
  // A window is of the place where most of it is. Out of silence, it is the first that has nothing else in it.
  const outOfSilence = since - FINE_S < from || !before.whole;
  return Math.max(0, since - (outOfSilence ? HALF_S : 0) - from);
}

/**
 * Holes: silences of 10 ms to a second and a half while the others sound. Jumps: places skipped or played twice.
 *
 * @param {import('./sound.mjs').Recording} recording
 * @param {Window[]} windows
 * @param {Span[]} spans
 */
export function tearsOf({ channels }, windows, spans) {
  const holes = spans.reduce((sum, span) => sum + channels.reduce((count, channel) => count + holesIn(channel, span), 0), 0);
  const part = within(windows, spans);
  let jumps = 0;
  for (let index = 1; index < part.length; index += 1) {
    const [before, now] = [part[index - 1], part[index]];
    if (now.at - before.at > (1.5 * HOP) / SAMPLE_RATE) continue;
    now.positions.forEach((position, listener) => {
      const earlier = before.positions[listener];
      if (position === null || earlier === null) return;
      if (Math.abs(position - earlier - (now.at - before.at)) > JUMP_S) jumps += 1;
    });
  }
  return { holes, jumps };
}

/**
 * What of these spans lies apart from moments, each of which is to be left out with some seconds around it.
 *
 * @param {Span[]} spans
 * @param {number[]} moments seconds, rising
 * @param {{ before: number, after: number }} around seconds
 * @returns {Span[]}
 */
export function apartFrom(spans, moments, { before, after }) {
  let left = spans;
  for (const moment of moments) {
    left = left.flatMap(({ from, to }) => [{ from, to: Math.min(to, moment - before) }, { from: Math.max(from, moment + after), to }])
      .filter(({ from, to }) => to > from);
  }
  return left;
}

/** @param {Int16Array} channel @param {Span} span */
function holesIn(channel, { from, to }) {
  const piece = Math.round((HOLE_S / 2) * SAMPLE_RATE);
  let holes = 0;
  let since = -1;
  const end = Math.min(channel.length, to * SAMPLE_RATE) - piece;
  for (let at = Math.floor(from * SAMPLE_RATE); at < end; at += piece) {
    if (quiet(channel, at, piece)) since = since < 0 ? at : since;
    else {
      const lasted = since < 0 ? 0 : (at - since) / SAMPLE_RATE;
      if (lasted >= HOLE_S && lasted < 1.5) holes += 1;
      since = -1;
    }
  }
  return holes;
}
