import { stampSample } from './playback.js';

/** More unanswered ticks than this, and the way is too slow for another to help. */
const MAX_UNANSWERED = 2;

/** @typedef {() => import('./types.js').HostSample | null | undefined} GetState */

/**
 * The host's heartbeat: one timer that samples the player and sends what it says.
 *
 * It goes on ticking while this client is not the host or not connected, and sends nothing then, so
 * that whoever becomes host needs to start nothing.
 */
export class HostSync {
  #parts;
  /** @type {GetState | null} */
  #getState = null;
  #intervalMs = 0;
  #dueMs = 0;
  #skip = false;
  #unanswered = 0;
  /** @type {(() => void) | null} */
  #cancel = null;

  /**
   * @param {object} parts
   * @param {import('./types.js').Time} parts.time
   * @param {() => boolean} parts.maySend Connected, in a room, and its host.
   * @param {() => number | null} parts.serverNow Unix milliseconds, null while the clock is not known.
   * @param {(sample: import('./types.js').HostSample) => Promise<import('./types.js').SyncAck>} parts.send
   * @param {(error: unknown) => void} parts.onError
   */
  constructor(parts) {
    this.#parts = parts;
  }

  get running() {
    return this.#getState !== null;
  }

  /**
   * @param {GetState} getState
   * @param {number} intervalMs
   */
  start(getState, intervalMs) {
    this.stop();
    this.#getState = getState;
    this.#intervalMs = intervalMs;
    this.#dueMs = this.#parts.time.now();
    this.#plan();
  }

  stop() {
    this.#getState = null;
    this.#skip = false;
    this.#cancel?.();
    this.#cancel = null;
  }

  /**
   * Samples and sends at once; the next tick has then nothing to add and is skipped.
   *
   * @returns {Promise<import('./types.js').SyncAck | null>} null where there was nothing to send, or it is not ours to send.
   */
  async now() {
    if (!this.#getState || !this.#parts.maySend()) return null;
    const sample = this.#sample(this.#getState);
    if (!sample) return null;
    this.#skip = true;
    return this.#parts.send(sample);
  }

  /** @param {GetState} getState */
  #sample(getState) {
    const before = this.#parts.serverNow();
    const sample = getState();
    const after = this.#parts.serverNow();
    if (!sample?.playback_state) return null;
    // The player was read somewhere between the two.
    return stampSample(sample, before === null || after === null ? null : (before + after) / 2);
  }

  #plan() {
    const now = this.#parts.time.now();
    // A throttled or sleeping page does not make up for what it missed.
    this.#dueMs = Math.max(this.#dueMs + this.#intervalMs, now);
    this.#cancel = this.#parts.time.after(this.#dueMs - now, () => {
      this.#tick();
      // The tick may have stopped us, or started something else.
      if (this.#cancel === cancel) this.#plan();
    });
    const cancel = this.#cancel;
  }

  #tick() {
    const skip = this.#skip;
    this.#skip = false;
    const { maySend, send, onError } = this.#parts;
    if (skip || !this.#getState || !maySend() || this.#unanswered >= MAX_UNANSWERED) return;
    let sample;
    try {
      sample = this.#sample(this.#getState);
    } catch (error) {
      // A player that fails once must not silence the room for good.
      onError(error);
      return;
    }
    if (!sample) return;
    this.#unanswered += 1;
    send(sample)
      // A refusal that crossed with a change of host, or with a lost connection, tells nothing new.
      .catch((error) => maySend() && onError(error))
      .finally(() => {
        this.#unanswered -= 1;
      });
  }
}
