/**
 * When a moment of an AudioContext is heard, on the page's clock.
 *
 * The browser tells pairs of the two (`getOutputTimestamp`). Between drop-outs both clocks run evenly, a little apart in pace. What the
 * pairs say wanders around that: the sound system asks itself now and then how late it is, and draws a line on from there; where it was
 * kept waiting meanwhile, the line is off by up to 30 ms, and slants until it has found back. So the distance is a median over
 * half a minute, in which those that slant count little, moved along a pace that is learned as well as the noise lets it.
 *
 * After a drop-out everything lies elsewhere at once. That is believed where the context itself has fallen behind by as much: what it has made
 * can be seen too late, on a busy machine, and never too early.
 */

/** Pairs that are looked at together: a browser with a long buffer tells ten a second. */
const GROUP = 4;
/** So far apart, in seconds, are pairs that mean the same. */
const AGREEMENT = 0.0015;
/** By then a device has started, if it ever agrees with itself or not. */
const STARTING_S = 1;
/** What a context tells in its first seconds says nothing of the pace. */
const YOUNG_S = 5;
const WINDOW_S = 30;
const PACE_WINDOW_S = 120;
/** Pairs on a line that is right differ by about this much. */
const QUIET = 0.0002;
/** What is off stays so for seconds, so that so many times the noise of single pairs is that of a pace. */
const LASTING = 3;
/** Sound cards are rarely further off than this from the page's clock, and never further than that. */
const USUAL_PACE = 100e-6;
const MOST_PACE = 500e-6;
/** Pairs that lie further off than this may be from after a drop-out. */
const STEP_S = 0.004;
/**
 * Seconds of distance times seconds since: by how much a context that is not late seems late at most after so long. Measured on two
 * processors of which others took half, in one case of a hundred: 33 ms in one second, 19 in two, 13 in four, 9 in six.
 */
const SEEMING = 0.06;
/** The context is compared with what it was in the seconds before. */
const BEFORE_S = 10;
const SLOT_S = 0.25;

/** @typedef {{ at: number, distance: number, spread: number }} Group the median of some pairs, by page time in seconds */

export class SoundClock {
  /** @type {number[]} Page time less context time, seconds: the newest. */
  #newest = [];
  /** @type {Group[]} */
  #groups = [];
  /** @type {{ at: number, late: number }[]} Page time less what the context has made, seconds: the least of each slot. */
  #lateness = [];
  #line = { at: 0, distance: NaN, pace: 0 };
  #lastContext = -1;
  #sinceGroup = 0;
  #startedAt = NaN;
  /** Since when the pairs lie elsewhere. */
  #elsewhereSince = NaN;

  /** Whether enough is known to place a sound by it. */
  get ready() { return !Number.isNaN(this.#line.distance); }

  /** The context has stopped, or plays through something else: what is known says nothing any more. */
  reset() {
    this.#newest = [];
    this.#groups = [];
    this.#lateness = [];
    this.#line = { at: 0, distance: NaN, pace: 0 };
    this.#lastContext = -1;
    this.#startedAt = NaN;
    this.#elsewhereSince = NaN;
  }

  /** Asks a context; to be called some fifty times a second. @param {AudioContext} context */
  look(context) {
    const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
    this.add(contextTime, performanceTime, context.currentTime, performance.now());
  }

  /**
   * @param {number} contextS a moment of the context, seconds
   * @param {number} pageMs when it is heard, milliseconds of the page
   * @param {number} madeS what the context has made up to now, its `currentTime`
   * @param {number} nowMs now, milliseconds of the page
   */
  add(contextS, pageMs, madeS, nowMs) {
    this.#see(nowMs / 1000, nowMs / 1000 - madeS);
    // Told twice is known once, and a context that does not move yet has nothing to tell.
    if (!(contextS > 0) || !(pageMs > 0) || contextS === this.#lastContext) return;
    this.#lastContext = contextS;
    const at = pageMs / 1000;
    if (Number.isNaN(this.#startedAt)) this.#startedAt = at;
    this.#newest.push(at - contextS);
    if (this.#newest.length > GROUP) this.#newest.shift();
    if (this.#newest.length < GROUP) return;
    const group = { at, distance: median(this.#newest), spread: Math.max(...this.#newest) - Math.min(...this.#newest) };
    this.#sinceGroup += 1;
    if (!this.ready) {
      if (group.spread < AGREEMENT || at > this.#startedAt + STARTING_S) this.#take(group);
    } else if (this.#stepped(group) || this.#sinceGroup >= GROUP) this.#take(group);
  }

  /** @param {number} at @param {number} late seconds */
  #see(at, late) {
    const slot = this.#lateness.at(-1);
    if (slot && at < slot.at + SLOT_S) slot.late = Math.min(slot.late, late);
    else this.#lateness.push({ at, late });
  }

  /** @param {number} from @param {number} to @returns {number} the least lateness seen in between */
  #least(from, to) {
    return Math.min(...this.#lateness.flatMap(({ at, late }) => (at >= from && at < to ? late : [])));
  }

  /** Whether there was a drop-out: what was known then keeps its shape, and lies elsewhere. @param {Group} group */
  #stepped({ at, distance, spread }) {
    const by = distance - this.#distanceAt(at);
    if (Math.abs(by) < STEP_S) {
      this.#elsewhereSince = NaN;
      return false;
    }
    if (Number.isNaN(this.#elsewhereSince)) this.#elsewhereSince = at;
    const since = this.#elsewhereSince;
    // While the newest are from before and after the step, they say nothing.
    if (spread > Math.max(AGREEMENT, Math.abs(by) / 8) || Math.abs(by) * (at - since) < SEEMING) return false;
    const behind = this.#least(since + SLOT_S, Infinity) - this.#least(since - BEFORE_S, since - 2 * SLOT_S);
    if (!(behind / by > 0.5 && behind / by < 2)) return false;
    this.#groups = this.#groups.filter((group) => group.at < since);
    for (const group of this.#groups) group.distance += by;
    this.#lateness = this.#lateness.filter((slot) => slot.at >= since + SLOT_S);
    this.#elsewhereSince = NaN;
    return true;
  }

  /** @param {Group} group */
  #take(group) {
    const { at } = group;
    this.#sinceGroup = 0;
    this.#groups.push(group);
    while (this.#groups[0].at < at - PACE_WINDOW_S) this.#groups.shift();
    while (this.#lateness[0]?.at < at - PACE_WINDOW_S) this.#lateness.shift();
    const pace = paceOf(this.#groups.filter((each) => each.at >= this.#startedAt + YOUNG_S));
    const recent = this.#groups.filter((each) => each.at >= at - WINDOW_S);
    const distance = median(recent.map((each) => each.distance + pace * (at - each.at)), recent.map(({ spread }) => 1 / (spread + QUIET)));
    this.#line = { at, distance, pace };
  }

  /** @param {number} at page time, seconds */
  #distanceAt(at) { return this.#line.distance + this.#line.pace * (at - this.#line.at); }

  /** @param {number} pageMs @returns {number} the moment of the context that is heard then, seconds */
  toContext(pageMs) { return pageMs / 1000 - this.#distanceAt(pageMs / 1000); }
}

/**
 * How fast the distance grows, seconds a second: from the first third of what is known to the last, as far as that is beyond what
 * their noise would make of none.
 *
 * @param {Group[]} groups
 */
function paceOf(groups) {
  const third = Math.floor(groups.length / 3);
  if (third < 2) return 0;
  const [early, late] = [groups.slice(0, third), groups.slice(-third)].map((part) => ({
    at: median(part.map(({ at }) => at)),
    distance: median(part.map(({ distance }) => distance)),
  }));
  const base = late.at - early.at;
  const pace = (late.distance - early.distance) / base;
  const noise = LASTING * median(groups.map(({ at, distance }) => Math.abs(distance - early.distance - pace * (at - early.at)))) / base;
  const known = USUAL_PACE ** 2 / (USUAL_PACE ** 2 + noise ** 2);
  return Math.min(MOST_PACE, Math.max(-MOST_PACE, pace * known));
}

/** @param {number[]} values @param {number[]} [weights] */
function median(values, weights = values.map(() => 1)) {
  const order = values.map((_, index) => index).sort((a, b) => values[a] - values[b]);
  const half = weights.reduce((sum, weight) => sum + weight, 0) / 2;
  let sum = 0;
  for (const index of order) {
    sum += weights[index];
    if (sum >= half) return values[index];
  }
  return NaN;
}
