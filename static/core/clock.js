/**
 * The server's clock, as well as this device can know it.
 *
 * A probe gives two one-sided truths. The way up says `received − sent = offset + delay up`, the way
 * down `returned − answered = delay down − offset`, and delays are only ever lengthened by jitter. So
 * the least of each, taken separately over a window, are the two closest looks there are; they need
 * not come from one probe. Half their difference is the offset, their sum the least round trip. What
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

/** How long a probe counts for the offset: long enough for a lucky pair, short enough that drift is small in it. */
const WINDOW_MS = 40_000;
/** How long a probe counts for the drift: a steep line needs a long base under jitter. */
const DRIFT_WINDOW_MS = 300_000;
/** The drift is believed over a base this long for each millisecond of jitter: over a shorter one jitter passes for drift. */
const DRIFT_BASE_PER_JITTER = 1500;
const DRIFT_BASE_LEAST_MS = 10_000;
const DRIFT_BASE_MOST_MS = 120_000;
/** No quartz is further off than this (200 ppm is already a bad one). */
const MAX_DRIFT = 500e-6;
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
   * @returns {boolean} Whether it counted.
   */
  addSample({ sentMs, receivedMs, answeredMs, returnedMs }) {
    const up = receivedMs - sentMs;
    const down = returnedMs - answeredMs;
    // Also refuses NaN. A millisecond of grace: the server may round its times.
    if (!(returnedMs >= sentMs && answeredMs >= receivedMs && up + down >= -1)) return false;

    const look = { atMs: returnedMs, up, down };
    if (this.#contradicts(look)) this.#looks = [];
    this.#looks.push(look);
    while (this.#looks[0].atMs < returnedMs - DRIFT_WINDOW_MS) this.#looks.shift();
    this.#seen += 1;
    this.#fresh += 1;

    if (returnedMs - this.#looks[0].atMs >= driftBase(this.#looks)) this.#drift = steepest(this.#looks, returnedMs);
    const recent = this.#recent(returnedMs);
    const bounds = least(recent, returnedMs, this.#drift);
    this.#rttMs = Math.max(0, bounds.up + bounds.down);
    // After a restart a handful of probes knows less than the estimate it is to replace, unless it refutes it.
    const early = this.#seen > SETTLED_AFTER && this.#fresh < SETTLED_AFTER;
    if (!early || outside(this.#offsetAt(returnedMs), bounds)) this.#follow(returnedMs, (bounds.up - bounds.down) / 2);
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
    const { up, down } = least(this.#recent(look.atMs), look.atMs, this.#drift);
    return look.up < -down - CONTRADICTION_MS || -look.down > up + CONTRADICTION_MS;
  }

  /** @param {number} atMs */
  #recent(atMs) {
    return this.#looks.filter((look) => look.atMs >= atMs - WINDOW_MS);
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
 * @param {{ up: number, down: number }} bounds
 */
function outside(offset, { up, down }) {
  return offset > up + CONTRADICTION_MS || offset < -down - CONTRADICTION_MS;
}

/**
 * The least ways up and down, each carried to `atMs` along a drift.
 *
 * @param {Look[]} looks
 * @param {number} atMs
 * @param {number} drift
 */
function least(looks, atMs, drift) {
  let up = Infinity;
  let down = Infinity;
  for (const look of looks) {
    const moved = drift * (atMs - look.atMs);
    up = Math.min(up, look.up + moved);
    down = Math.min(down, look.down - moved);
  }
  return { up, down };
}

/**
 * How long the looks must reach back before their drift is worth using.
 *
 * @param {Look[]} looks
 */
function driftBase(looks) {
  const roundTrips = looks.map((look) => look.up + look.down).sort((a, b) => a - b);
  const jitterMs = roundTrips[roundTrips.length >> 1] - roundTrips[0];
  return Math.min(DRIFT_BASE_MOST_MS, Math.max(DRIFT_BASE_LEAST_MS, DRIFT_BASE_PER_JITTER * jitterMs));
}

/**
 * The drift under which the looks agree best. A wrong drift tilts the looks, so that the least of both
 * ways comes out too small; the true one leaves the least round trip at its largest. That round trip
 * is a concave function of the drift (a sum of minima of lines), so a search by thirds finds its top.
 *
 * @param {Look[]} looks
 * @param {number} atMs
 */
function steepest(looks, atMs) {
  /** @param {number} drift */
  const roundTrip = (drift) => {
    const { up, down } = least(looks, atMs, drift);
    return up + down;
  };
  let low = -MAX_DRIFT;
  let high = MAX_DRIFT;
  while (high - low > 1e-7) {
    const third = (high - low) / 3;
    if (roundTrip(low + third) < roundTrip(high - third)) low += third;
    else high -= third;
  }
  return (low + high) / 2;
}
