/**
 * When a moment of an AudioContext is heard, on the page's clock.
 *
 * The browser tells pairs of the two (`getOutputTimestamp`). Between drop-outs both clocks run evenly, a little apart in pace; what the
 * pairs say wanders around that by some milliseconds for seconds on end, as the sound system finds out about itself. So
 * the distance is the median of the last eight seconds, at first of fewer, moved along a pace that is learned over minutes. After a drop-out
 * everything lies elsewhere at once: such a step is followed at once.
 */

/** Pairs that are looked at together: a browser with a long buffer tells ten a second. */
const GROUP = 4;
/** So far apart, in seconds, are pairs that mean the same. */
const AGREEMENT = 0.0015;
/** What a context tells in its first seconds is off by milliseconds. It will do to begin by, and says nothing of the pace. */
const YOUNG_S = 5;
/** By then a device has started, if it ever agrees with itself or not. */
const STARTING_S = 1;
/** No wandering is as sudden as this, and hardly a drop-out shorter. */
const STEP_S = 0.004;
/** After so many pairs that lie elsewhere it is one, even if they do not agree. */
const DOUBTS = 40;
const WINDOW_S = 8;
const PACE_WINDOW_S = 120;
const PACE_BASE_S = 30;
/** No sound card is further off. */
const MOST_PACE = 500e-6;

export class SoundClock {
  /** @type {number[]} Page time less context time, seconds: the newest. */
  #newest = [];
  /** @type {{ at: number, distance: number }[]} Medians of them, by page time in seconds. */
  #groups = [];
  #level = NaN;
  #line = { at: 0, distance: NaN, pace: 0 };
  #lastContext = -1;
  #sinceGroup = 0;
  #startedAt = NaN;

  /** Whether enough is known to place a sound by it. */
  get ready() { return !Number.isNaN(this.#line.distance); }

  /** The context has stopped, or plays through something else: what is known says nothing any more. */
  reset() {
    this.#newest = [];
    this.#groups = [];
    this.#level = NaN;
    this.#line = { at: 0, distance: NaN, pace: 0 };
    this.#lastContext = -1;
    this.#startedAt = NaN;
  }

  /**
   * @param {number} contextS a moment of the context, seconds
   * @param {number} pageMs when it is heard, milliseconds of the page
   */
  add(contextS, pageMs) {
    // Told twice is known once, and a context that does not move yet has nothing to tell.
    if (!(contextS > 0) || !(pageMs > 0) || contextS === this.#lastContext) return;
    this.#lastContext = contextS;
    if (Number.isNaN(this.#startedAt)) this.#startedAt = pageMs / 1000;
    this.#newest.push(pageMs / 1000 - contextS);
    if (this.#newest.length > GROUP) this.#newest.shift();
    if (this.#newest.length < GROUP) return;
    const now = median(this.#newest);
    const agree = Math.max(...this.#newest) - Math.min(...this.#newest) < AGREEMENT;
    this.#sinceGroup += 1;
    if (!this.ready) {
      if (agree || pageMs / 1000 > this.#startedAt + STARTING_S) this.#take(pageMs / 1000, now);
    } else if (Math.abs(now - this.#level) > STEP_S) {
      // While the newest are from before and after the step, they say nothing.
      if (agree || this.#sinceGroup > DOUBTS) this.#step(pageMs / 1000, now);
    } else if (this.#sinceGroup >= GROUP) this.#take(pageMs / 1000, now);
  }

  /** What was known keeps its shape. @param {number} at @param {number} distance */
  #step(at, distance) {
    const by = distance - this.#level;
    for (const group of this.#groups) group.distance += by;
    this.#take(at, distance);
  }

  /** @param {number} at @param {number} distance */
  #take(at, distance) {
    this.#sinceGroup = 0;
    this.#level = distance;
    this.#groups.push({ at, distance });
    while (this.#groups[0].at < at - PACE_WINDOW_S) this.#groups.shift();
    const pace = paceOf(this.#groups.filter((group) => group.at >= this.#startedAt + YOUNG_S));
    // At first only the later half of what is known counts.
    const since = Math.max(at - WINDOW_S, (this.#startedAt + at) / 2);
    const recent = this.#groups.filter((group) => group.at >= since);
    this.#line = { at, distance: median(recent.map((group) => group.distance + pace * (at - group.at))), pace };
  }

  /** @param {number} pageMs */
  #distanceAt(pageMs) { return this.#line.distance + this.#line.pace * (pageMs / 1000 - this.#line.at); }

  /** @param {number} pageMs @returns {number} the moment of the context that is heard then, seconds */
  toContext(pageMs) { return pageMs / 1000 - this.#distanceAt(pageMs); }
}

/**
 * How fast the distance grows, seconds a second: from the first third of what is known to the last.
 * @param {{ at: number, distance: number }[]} groups
 */
function paceOf(groups) {
  const third = Math.floor(groups.length / 3);
  if (third < 2 || groups[groups.length - 1].at - groups[0].at < PACE_BASE_S) return 0;
  const [early, late] = [groups.slice(0, third), groups.slice(-third)];
  const over = median(late.map(({ at }) => at)) - median(early.map(({ at }) => at));
  const pace = (median(late.map(({ distance }) => distance)) - median(early.map(({ distance }) => distance))) / over;
  return Math.min(MOST_PACE, Math.max(-MOST_PACE, pace));
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
