// Waiting for something to become true, which is the only way in which tests wait.

import assert from 'node:assert/strict';

/** Long enough for a debug build on a busy machine; nothing that works takes this long. */
export const DEADLINE_MS = 15_000;

/**
 * Waits until `check` gives something true; an assertion that fails in it means "not yet".
 * @template T
 * @param {() => T | Promise<T>} check
 * @param {string} what
 * @param {{within?: number, every?: number}} [pace]
 * @returns {Promise<NonNullable<T>>}
 */
export async function eventually(check, what, { within = DEADLINE_MS, every = 25 } = {}) {
  const deadline = performance.now() + within;
  let last;
  do {
    try {
      const value = await check();
      if (value) return /** @type {NonNullable<T>} */ (value);
      last = undefined;
    } catch (error) {
      if (!(error instanceof assert.AssertionError)) throw error;
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  } while (performance.now() < deadline);
  throw last ?? new Error(`not within ${within} ms: ${what}`);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {() => Error} late
 * @returns {Promise<T>}
 */
export function withDeadline(promise, ms, late) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}
