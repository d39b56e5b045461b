/**
 * The server's clock, as well as this device can know it.
 *
 * A probe gives two one-sided truths. The way up says `received − sent = offset + delay up`, the way
 * down `returned − answered = delay down − offset`, and delays are only ever lengthened by jitter. So
 * the least of each, taken separately over a window, are the two closest looks there are; they need
 * not come from one probe. Half their difference is the offset, their sum the least round trip. Where
 * jitter ends as sharply above as below, the slowest ways tell the same again. What
 * remains is half the difference between the fastest way up and the fastest way down, which nobody
 * can see from one end.
 */

/**
 * @typedef {object} ProbeSample
 * @property {number} sentMs Local time at which the probe left.
 * @property {number} receivedMs Server time at which it arrived.
 * @property {number} answeredMs Server time at which the answer left.
 * @property {number} returnedMs Local time at which the answer arrived.
 */

/** @typedef {{ atMs: number, up: number, down: number }} Look One probe: local time, delay up plus offset, delay down minus offset. */

/** How long a probe counts: long enough for a lucky pair, and for a drift to show under jitter. */
const WINDOW_MS = 300_000;
/** For the round trip, and for seeing that a clock was set: drift is small in it. */
const RECENT_MS = 40_000;
/** Drifts that are thought possible: no quartz is further off than this (200 ppm is already a bad one). */
const DRIFT_STEP = 10e-6;
const DRIFT_STEPS = 40;
/** How far off a usual quartz is. */
const USUAL_DRIFT = 30e-6;
/** From so many probes on they show how sharply their delays end. */
const ENDS_AFTER = 12;
/** Of so many the first ones and the last ones are looked at for it. */
const ENDS = 8;
/** Ends that contradict each other by so many times what chance makes of them are not of the same jitter up and down. */
const CHANCE = 3;
/** The least that jitter is taken for, milliseconds: timers and threads are no more even than that. */
const LEAST_JITTER_MS = 0.05;
/** Probes after which an estimate is worth more than the device's wall clock. */
const READY_AFTER = 3;
/** The first burst: until then the estimate improves quickly, and nothing plays by it yet. */
const SETTLED_AFTER = 12;
/** From here on a correction is no refinement but a wrong clock put right. */
const STEP_MS = 25;
/** Milliseconds of correction a millisecond: half a percent, what players correct by unheard. */
const SLEW_RATE = 0.005;
/** Two looks that contradict each other by more than this mean that a clock has been set. */
const CONTRADICTION_MS = 2;

export class ServerClock {
  /** @type {() => number} */
  #now;
  /** @type {Look[]} In order of time. */
  #looks = [];
  #seen = 0;
  /** Probes since the last {@link restart}. */
  #fresh = 0;
  #drift = 0;
  #rttMs = NaN;
  #uncertaintyMs = NaN;
  /** The line the offset follows: `offset + drift × (local − at)`, less what is still to be slewed. */
  #line = { atMs: 0, offset: 0, drift: 0, slew: 0 };

  /**
   * @param {object} [options]
   * @param {() => number} [options.now] Local milliseconds that never go back; `performance.now` where left out.
   * @param {number} [options.initialOffsetMs] What to assume before the first probe; by default the device's wall clock.
   */
  constructor({ now = () => performance.now(), initialOffsetMs = performance.timeOrigin } = {}) {
    this.#now = now;
    this.#line.offset = initialOffsetMs;
  }

  /** Whether enough probes have come back; before that every time told is the device's own guess. */
  get ready() {
    return this.#seen >= READY_AFTER;
  }

  /** Milliseconds to add to the local clock to get server time, now. */
  get offsetMs() {
    return this.#offsetAt(this.#now());
  }

  /** The least round trip in the window, in milliseconds; NaN before the first probe. */
  get rttMs() {
    return this.#rttMs;
  }

  /** How far the offset may well be off, in milliseconds, as far as the probes tell; NaN before the first. */
  get uncertaintyMs() {
    return this.#uncertaintyMs;
  }

  /** How fast the server's clock runs against ours, as a fraction: 0.0001 is 100 ppm. */
  get drift() {
    return this.#line.drift;
  }

  /** Server time now, Unix milliseconds. */
  serverNow() {
    return this.toServer(this.#now());
  }

  /**
   * @param {number} localMs A moment on the local clock.
   * @returns {number} The same moment in server time, Unix milliseconds.
   */
  toServer(localMs) {
    return localMs + this.#offsetAt(localMs);
  }

  /**
   * @param {number} serverMs A moment in server time, Unix milliseconds.
   * @returns {number} The same moment on the local clock.
   */
  toLocal(serverMs) {
    // The offset changes by less than a hundredth of what time does, so two rounds are exact enough.
    const guess = serverMs - this.#offsetAt(this.#now());
    return serverMs - this.#offsetAt(serverMs - this.#offsetAt(guess));
  }

  /**
   * Forgets the probes, but not the time they told. For a new connection: it may lead to another
   * gateway, whose clock differs by what NTP leaves and whose way differs altogether.
   */
  restart() {
    this.#looks = [];
    this.#fresh = 0;
  }

  /**
   * Takes in one probe. One that cannot be true is ignored.
   *
   * @param {ProbeSample} sample
   * @param {{ hint?: boolean }} [options] A hint that contradicts what is known is ignored as well.
   * @returns {boolean} Whether it counted.
   */
  addSample({ sentMs, receivedMs, answeredMs, returnedMs }, { hint = false } = {}) {
    const up = receivedMs - sentMs;
    const down = returnedMs - answeredMs;
    // Also refuses NaN. A millisecond of grace: the server may round its times.
    if (!(returnedMs >= sentMs && answeredMs >= receivedMs && up + down >= -1)) return false;

    const look = { atMs: returnedMs, up, down };
    if (this.#contradicts(look)) {
      if (hint) return false;
      this.#looks = [];
    }
    this.#looks.push(look);
    while (this.#looks[0].atMs < returnedMs - WINDOW_MS) this.#looks.shift();
    this.#seen += 1;
    this.#fresh += 1;

    const { offset, drift, uncertaintyMs } = likeliest(this.#looks, returnedMs);
    this.#drift = drift;
    this.#uncertaintyMs = uncertaintyMs;
    const recent = this.#recent(returnedMs);
    const { low: bounds } = waysAlong(recent, returnedMs, this.#drift);
    this.#rttMs = Math.max(0, bounds.up + bounds.down);
    // After a restart a handful of probes knows less than the estimate it is to replace, unless it refutes it.
    const early = this.#seen > SETTLED_AFTER && this.#fresh < SETTLED_AFTER;
    if (!early || outside(this.#offsetAt(returnedMs), bounds)) this.#follow(returnedMs, offset);
    return true;
  }

  /**
   * Every look confines the offset to between `−down` and `up`. One whose bounds lie outside all that
   * was known means that one of the clocks has been set, or that this device slept: the old looks
   * tell of another offset.
   *
   * @param {Look} look
   */
  #contradicts(look) {
    const { up, down } = waysAlong(this.#recent(look.atMs), look.atMs, this.#drift).low;
    return look.up < -down - CONTRADICTION_MS || -look.down > up + CONTRADICTION_MS;
  }

  /** @param {number} atMs */
  #recent(atMs) {
    return this.#looks.filter((look) => look.atMs >= atMs - RECENT_MS);
  }

  /**
   * @param {number} atMs
   * @param {number} offset
   */
  #follow(atMs, offset) {
    const correction = offset - this.#offsetAt(atMs);
    const slewed = this.#seen > SETTLED_AFTER && Math.abs(correction) < STEP_MS;
    this.#line = { atMs, offset, drift: this.#drift, slew: slewed ? correction : 0 };
  }

  /** @param {number} localMs */
  #offsetAt(localMs) {
    const { atMs, offset, drift, slew } = this.#line;
    const sinceMs = localMs - atMs;
    const left = Math.max(0, Math.abs(slew) - SLEW_RATE * Math.max(0, sinceMs));
    return offset + drift * sinceMs - Math.sign(slew) * left;
  }
}

/**
 * Whether an offset cannot be true, seeing that no way takes less than no time.
 *
 * @param {number} offset
 * @param {Ways} bounds
 */
function outside(offset, { up, down }) {
  return offset > up + CONTRADICTION_MS || offset < -down - CONTRADICTION_MS;
}

/** @typedef {{ up: number, down: number }} Ways */

/**
 * The fastest and the slowest ways up and down, each carried to `atMs` along a drift.
 *
 * @param {Look[]} looks
 * @param {number} atMs
 * @param {number} drift
 * @returns {{ low: Ways, high: Ways }}
 */
function waysAlong(looks, atMs, drift) {
  const low = { up: Infinity, down: Infinity };
  const high = { up: -Infinity, down: -Infinity };
  for (const look of looks) {
    const moved = drift * (atMs - look.atMs);
    const up = look.up + moved;
    const down = look.down - moved;
    if (up < low.up) low.up = up;
    if (up > high.up) high.up = up;
    if (down < low.down) low.down = down;
    if (down > high.down) high.down = down;
  }
  return { low, high };
}

/**
 * The offset and the drift that the looks speak for. A wrong drift tilts the looks, so that the least of both ways comes out too
 * small; the true one leaves the least round trip at its largest. How much that counts depends on how many looks there are and how
 * much they jitter: with delays that exceed the least one by `jitter` on average, each millisecond of it is worth `looks / jitter`, against which
 * stands that most clocks drift little. The answer is the mean of all drifts by what speaks for them, so that it moves to the true one as
 * the looks come in, and never in leaps.
 *
 * @param {Look[]} looks
 * @param {number} atMs
 */
function likeliest(looks, atMs) {
  const { low: still } = waysAlong(looks, atMs, 0);
  const mean = looks.reduce((sum, look) => sum + look.up + look.down, 0) / looks.length;
  const jitter = Math.max(LEAST_JITTER_MS, (mean - still.up - still.down) / 2);
  const worth = looks.length / jitter;
  const cases = Array.from({ length: 2 * DRIFT_STEPS + 1 }, (_, step) => {
    const drift = (step - DRIFT_STEPS) * DRIFT_STEP;
    return { drift, ...waysAlong(looks, atMs, drift) };
  });
  const byLeast = weighed(cases, worth, 0);
  const trust = trustInMost(looks, atMs, byLeast.drift);
  const { offset, drift, scatter } = trust === 0 ? byLeast : weighed(cases, worth, trust);
  // The least of so many delays exceeds the least possible by about this much.
  return { offset, drift, uncertaintyMs: scatter + jitter / looks.length };
}

/**
 * The mean of all drifts, by the round trips they leave and by how usual they are.
 *
 * @param {{ drift: number, low: Ways, high: Ways }[]} cases
 * @param {number} worth of a millisecond of round trip
 * @param {number} trust what the slowest ways are worth beside the fastest
 */
function weighed(cases, worth, trust) {
  const views = cases.map(({ drift, low, high }) => ({
    drift,
    offset: (low.up - low.down + trust * (high.up - high.down)) / 2 / (1 + trust),
    weight: (low.up + low.down - trust * (high.up + high.down)) * worth - Math.abs(drift) / USUAL_DRIFT,
  }));
  const best = Math.max(...views.map(({ weight }) => weight));
  let all = 0;
  let offset = 0;
  let drift = 0;
  for (const each of views) {
    const share = Math.exp(each.weight - best);
    all += share;
    // Around the first: the offsets themselves have thirteen digits before the point.
    offset += share * (each.offset - views[0].offset);
    drift += share * each.drift;
  }
  offset = views[0].offset + offset / all;
  const scatter = Math.sqrt(views.reduce((sum, each) => sum + Math.exp(each.weight - best) * (each.offset - offset) ** 2, 0) / all);
  return { offset, drift: drift / all, scatter };
}

/**
 * How much the slowest ways say of the offset, beside the fastest: as an end of a sample is off by about the gaps next to it, the
 * square of how much closer the delays lie there. Next to nothing where some are late as they please, and as much where jitter is
 * bounded. Nothing where both ends contradict each other: then it is not the same up and down.
 *
 * @param {Look[]} looks
 * @param {number} atMs
 * @param {number} drift
 * @returns {number} from 0 to 1
 */
function trustInMost(looks, atMs, drift) {
  if (looks.length < ENDS_AFTER) return 0;
  const count = Math.round(looks.length / ENDS);
  const [up, down] = [
    looks.map((look) => look.up + drift * (atMs - look.atMs)),
    looks.map((look) => look.down - drift * (atMs - look.atMs)),
  ].map((delays) => {
    delays.sort((a, b) => a - b);
    const [first, last] = [delays[0], delays[delays.length - 1]];
    return { first, last, low: (delays[count] - first) / count, high: (last - delays[delays.length - 1 - count]) / count };
  });
  const low = up.low ** 2 + down.low ** 2;
  const high = up.high ** 2 + down.high ** 2;
  const contradiction = up.first - down.first - (up.last - down.last);
  if (high === 0 || contradiction ** 2 > CHANCE ** 2 * (low + high)) return 0;
  return Math.min(1, low / high);
}
