/**
 * Sends the probes the clock lives on, and hands it the answers.
 *
 * The server allows a connection 60 pings a minute and bursts of 20. A budget of our own stays below
 * that, whoever asks for how many bursts, so that a probe is never refused.
 */

/** Enough to find the offset within some milliseconds under jitter. */
const BURST = 18;
/** Bytes do not overtake each other: a probe close behind a late one is late as well, and tells nothing new. */
const BURST_GAP_MS = 80;
/** As often as is allowed while little is known; then 40 a minute, which saves up for the next burst. */
const EARLY_GAP_MS = 1050;
const EARLY_FOR_MS = 40_000;
const STEADY_GAP_MS = 1500;
const BUDGET = 18;
const BUDGET_PER_MS = 58 / 60_000;
/** After this a probe counts as lost. */
const LOST_AFTER_MS = 10_000;

export class ClockProbes {
  #clock;
  #time;
  #send;
  /** @type {number[]} When the unanswered probes left. */
  #unanswered = [];
  #budget = BUDGET;
  #countedAtMs = 0;
  #startedAtMs = 0;
  #burstLeft = 0;
  /** @type {(() => void) | null} */
  #cancel = null;
  #running = false;
  #startedBefore = false;

  /**
   * @param {object} parts
   * @param {import('./clock.js').ServerClock} parts.clock
   * @param {import('./types.js').Time} parts.time
   * @param {(payload: { client_time_ms: number }) => void} parts.send Sends at once or not at all: a
   *   probe that waits in a queue measures the queue.
   */
  constructor({ clock, time, send }) {
    this.#clock = clock;
    this.#time = time;
    this.#send = send;
  }

  /** A connection is up: its budget is whole, and what was learned over the last one may be about another gateway. */
  start() {
    this.#running = true;
    this.#budget = BUDGET;
    this.#countedAtMs = this.#time.now();
    this.#startedAtMs = this.#countedAtMs;
    this.#unanswered = [];
    if (this.#startedBefore) this.#clock.restart();
    this.#startedBefore = true;
    this.burst();
  }

  /** The connection is gone. */
  stop() {
    this.#running = false;
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Looks closely, as far as the budget allows: the page was hidden, or the network has changed. */
  burst() {
    if (!this.#running) return;
    this.#burstLeft = BURST;
    this.#cancel?.();
    this.#next();
  }

  /** @param {import('./types.js').PongPayload} pong */
  onPong(pong) {
    // First of all: everything done before would count as delay.
    const returnedMs = this.#time.now();
    const echoed = Number(pong.client_time_ms);
    // Compared loosely, for a number may lose its last bit on the way through somebody's JSON.
    const index = this.#unanswered.findIndex((sentMs) => Math.abs(sentMs - echoed) < 0.001);
    if (index < 0) return;
    const [sentMs] = this.#unanswered.splice(index, 1);
    this.#clock.addSample({ sentMs, receivedMs: pong.received_ms, answeredMs: pong.sent_ms, returnedMs });
  }

  /**
   * Something else was asked of the server, and its answer tells the time as well. Against better knowledge it does not stand.
   *
   * @param {import('./clock.js').ProbeSample} sample
   */
  onAnswer(sample) {
    this.#clock.addSample(sample, { hint: true });
  }

  #next() {
    if (this.#take()) {
      const sentMs = this.#time.now();
      this.#unanswered = this.#unanswered.filter((other) => other > sentMs - LOST_AFTER_MS);
      this.#unanswered.push(sentMs);
      this.#send({ client_time_ms: sentMs });
      this.#burstLeft -= 1;
    } else {
      this.#burstLeft = 0;
    }
    this.#cancel = this.#time.after(this.#gapMs(), () => this.#next());
  }

  #gapMs() {
    if (this.#burstLeft > 0) return BURST_GAP_MS;
    return this.#time.now() < this.#startedAtMs + EARLY_FOR_MS ? EARLY_GAP_MS : STEADY_GAP_MS;
  }

  #take() {
    const now = this.#time.now();
    this.#budget = Math.min(BUDGET, this.#budget + (now - this.#countedAtMs) * BUDGET_PER_MS);
    this.#countedAtMs = now;
    if (this.#budget < 1) return false;
    this.#budget -= 1;
    return true;
  }
}
