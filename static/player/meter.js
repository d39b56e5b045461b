import { median } from './lateness.js';

/** How long a measurement says something about now. */
const KEPT_MS = 4_000;
const REPORT_MOST = 600;

/** How far off this player is, over the last seconds and since the last report. In milliseconds. */
export class Meter {
  /** @type {{ at: number, size: number }[]} */
  #recent = [];
  /** @type {number[]} */
  #unreported = [];

  /** @param {number | null} offsetS measured distance from the room, seconds; null: the room has jumped @param {number} now page time */
  add(offsetS, now) {
    if (offsetS === null) {
      this.#recent = [];
      return;
    }
    const size = Math.abs(offsetS) * 1000;
    this.#recent = this.#recent.filter(({ at }) => now - at < KEPT_MS);
    this.#recent.push({ at: now, size });
    if (this.#unreported.length < REPORT_MOST) this.#unreported.push(size);
  }

  /** @param {number} now page time @returns {number | null} the median of the last seconds */
  typical(now) {
    const sizes = this.#recent.filter(({ at }) => now - at < KEPT_MS).map(({ size }) => size);
    return sizes.length ? median(sizes) : null;
  }

  /** @returns {number | null} the median since the last time this was asked */
  take() {
    const sizes = this.#unreported;
    this.#unreported = [];
    return sizes.length ? median(sizes) : null;
  }
}
