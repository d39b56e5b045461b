/** `setTimeout` takes a longer delay for none at all. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * The real {@link import('./types.js').Time}.
 *
 * @param {() => number} [now] Monotonic milliseconds; `performance.now` where left out.
 * @returns {import('./types.js').Time}
 */
export function systemTime(now = () => performance.now()) {
  return {
    now,
    after(delayMs, run) {
      const timer = setTimeout(run, Math.min(Math.max(0, delayMs), LONGEST_MS));
      return () => clearTimeout(timer);
    },
  };
}

/**
 * How long to wait before trying again: twice as long each time, spread over half to one and a half
 * times that, so that a room full of clients does not come back in one instant.
 *
 * @param {number} failures How often it has failed so far; 0 before the first retry.
 * @param {() => number} random From 0 to below 1.
 * @param {{ baseMs?: number, capMs?: number }} [limits] `capMs` stays well below the server's
 *   presence grace of 15 s, so that a returning client still finds its place.
 * @returns {number} Milliseconds.
 */
export function backoffMs(failures, random, { baseMs = 500, capMs = 5000 } = {}) {
  return Math.min(capMs, baseMs * 2 ** Math.min(failures, 16)) * (0.5 + random());
}
