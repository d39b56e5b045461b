/**
 * Tells the server now and then what this listener measured: how long a round trip takes, and how far its sound is from the room's.
 * From this the room knows how far ahead a start must lie.
 */

const FIRST_AFTER_MS = 3_000;
const EVERY_MS = 10_000;
/** Listeners of one room do not report in one instant. */
const SPREAD = 0.2;

/** @typedef {() => import('./types.js').ListenerReport | null} Measure null where there is nothing to say yet */

export class Reports {
  #parts;
  /** @type {Measure | null} */
  #measure = null;
  /** An older server knows no reports, and has said so. */
  #unwanted = false;
  /** @type {(() => void) | null} */
  #cancel = null;

  /**
   * @param {object} parts
   * @param {import('./types.js').Time} parts.time
   * @param {() => number} parts.random From 0 to below 1.
   * @param {() => boolean} parts.maySend Connected and in a room.
   * @param {(report: import('./types.js').ListenerReport) => Promise<unknown>} parts.send
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /** @param {Measure} measure */
  start(measure) {
    this.stop();
    this.#measure = measure;
    this.#plan(FIRST_AFTER_MS);
  }

  stop() {
    this.#measure = null;
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Another connection may lead to another server. */
  onUp() {
    this.#unwanted = false;
  }

  /** @param {number} afterMs */
  #plan(afterMs) {
    const { time, random } = this.#parts;
    this.#cancel = time.after(afterMs * (1 + SPREAD * (random() - 0.5)), () => {
      this.#plan(EVERY_MS);
      this.#tell();
    });
  }

  #tell() {
    if (this.#unwanted || !this.#parts.maySend()) return;
    const report = this.#measure?.();
    if (!report) return;
    // Nobody waits for this: what is lost is said again.
    this.#parts.send(report).catch(({ code }) => {
      if (code === 'INVALID_REQUEST') this.#unwanted = true;
    });
  }
}
