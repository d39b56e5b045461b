/** Where a song is, from what a state says and what time it is. Pure functions. */

/**
 * The Unix milliseconds at which a state's position was, or will be, true.
 *
 * @param {Pick<import('./types.js').PlaybackState, 'timestamp' | 'timestamp_ms'>} state
 * @returns {number} NaN where the state names no time.
 */
export function stateTimeMs(state) {
  if (typeof state.timestamp_ms === 'number') return state.timestamp_ms;
  return typeof state.timestamp === 'string' ? Date.parse(state.timestamp) : NaN;
}

/**
 * The position a state means at a moment of server time. Before the state's own time the answer lies
 * before `position`, and may be negative: a start that is still ahead.
 *
 * The drift is counted once, and only in server time: adding "now minus timestamp" a second time, or
 * reading the device's wall clock, puts a listener twice its clock's error away.
 *
 * @param {import('./types.js').PlaybackState} state
 * @param {number} serverNowMs Unix milliseconds of server time, as `FriendRoomClient.serverNow()` tells it.
 * @returns {number} Seconds, not clamped to the song.
 */
export function syncPlayback(state, serverNowMs) {
  if (!state.playing) return state.position;
  const elapsedMs = serverNowMs - stateTimeMs(state);
  // A state without a time cannot be moved on; its position is the best there is.
  if (Number.isNaN(elapsedMs)) return state.position;
  return state.position + ((state.rate ?? 1) * elapsedMs) / 1000;
}

/**
 * The sample as it goes to the server: stamped with the server time of the moment it was taken, unless
 * its maker stamped it already. Without a time the server puts that of receipt, which is what we want
 * while our clock is no better.
 *
 * @param {import('./types.js').HostSample} sample
 * @param {number | null} atMs Unix milliseconds of server time, or null while it is not known.
 * @returns {import('./types.js').HostSample}
 */
export function stampSample(sample, atMs) {
  const state = sample.playback_state;
  if (atMs === null || state.timestamp_ms !== undefined || state.timestamp !== undefined) return sample;
  return { ...sample, playback_state: { ...state, timestamp_ms: atMs } };
}
