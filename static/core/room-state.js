/**
 * What a room looks like after an event. Pure: a room and an event in, the next room out, and the very
 * same room where the event changes nothing.
 */

/** @typedef {import('./types.js').Room} Room */

/** The server's own limit; the count goes on beyond it. */
const LISTED_PARTICIPANTS = 500;

/**
 * @param {Room | null} known
 * @param {import('./types.js').RoomJoinedPayload} joined
 * @returns {Room}
 */
export function roomJoined(known, { room_id, room_state }) {
  const room = { ...room_state, room_id };
  if (known?.room_id !== room_id || !(room.version < known.version)) return room;
  // Older than what we saw: it still knows best who is there, for that is not versioned.
  return { ...known, participants: room.participants, participant_count: room.participant_count };
}

/**
 * @param {Room} room
 * @param {import('./types.js').StateSyncedPayload} synced
 * @returns {Room}
 */
export function stateSynced(room, { room_id, playback_state, current_song, version }) {
  if (room_id !== room.room_id || version <= room.version) return room;
  // A server may leave out a song that stays; only null clears it.
  return { ...room, playback_state, current_song: current_song === undefined ? room.current_song : current_song, version };
}

/**
 * What a host sent and the server accepted: nobody sends it back to the connection it came from.
 *
 * @param {Room} room
 * @param {import('./types.js').HostSample} sample
 * @param {import('./types.js').SyncAck} ack
 * @returns {Room}
 */
export function stateSent(room, sample, ack) {
  const playback = sample.playback_state;
  const stamped = playback.timestamp_ms === undefined && playback.timestamp === undefined
    ? { ...playback, timestamp: ack.timestamp }
    : playback;
  return stateSynced(room, {
    room_id: room.room_id,
    playback_state: { current_time: playback.position, rate: 1, ...stamped },
    current_song: sample.current_song === undefined ? room.current_song : sample.current_song,
    version: ack.version,
    timestamp: ack.timestamp,
  });
}

/**
 * @param {Room} room
 * @param {import('./types.js').UserPresencePayload} event
 * @returns {Room}
 */
export function userJoined(room, { room_id, user_id, participant_count }) {
  if (room_id !== room.room_id) return room;
  const listed = room.participants.includes(user_id) || room.participants.length >= LISTED_PARTICIPANTS;
  const participants = listed ? room.participants : [...room.participants, user_id];
  return { ...room, participants, participant_count: participant_count ?? participants.length };
}

/**
 * @param {Room} room
 * @param {import('./types.js').UserPresencePayload} event
 * @returns {Room}
 */
export function userLeft(room, { room_id, user_id, participant_count }) {
  if (room_id !== room.room_id) return room;
  const participants = room.participants.filter((other) => other !== user_id);
  return { ...room, participants, participant_count: participant_count ?? participants.length };
}

/**
 * @param {Room} room
 * @param {import('./types.js').HostChangedPayload} event
 * @returns {Room}
 */
export function hostChanged(room, { room_id, host_id, version }) {
  if (room_id !== room.room_id) return room;
  return { ...room, host_id, version: Math.max(room.version, version ?? room.version) };
}
