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
  const room = { ...room_state, room_id, host_version: room_state.version };
  if (known?.room_id !== room_id || !(room.version < known.version)) return room;
  // Older than what we saw: it still knows best who is there, for that is not versioned.
  const { participants, members, participant_count } = room;
  return { ...known, participants, members, participant_count };
}

/**
 * @param {Room} room
 * @param {import('./types.js').StateSyncedPayload} synced
 * @returns {Room}
 */
export function stateSynced(room, { participant_count, ...state }) {
  const next = stateReceived(room, state);
  // Joining and leaving need no new version. The count is said after a gap that may have hidden who came or went.
  const is_counted = participant_count !== undefined && state.room_id === room.room_id;
  return is_counted && participant_count !== next.participant_count ? { ...next, participant_count } : next;
}

/**
 * @param {Room} room
 * @param {import('./types.js').StateSyncedPayload} synced
 * @returns {Room}
 */
function stateReceived(room, { room_id, playback_state, current_song, version }) {
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
export function userJoined(room, { room_id, user_id, username, participant_count }) {
  if (room_id !== room.room_id) return room;
  const listed = room.participants.includes(user_id) || room.participants.length >= LISTED_PARTICIPANTS;
  const participants = listed ? room.participants : [...room.participants, user_id];
  const members = listed ? room.members : room.members && [...room.members, { user_id, username }];
  return { ...room, participants, members, participant_count: participant_count ?? participants.length };
}

/**
 * @param {Room} room
 * @param {import('./types.js').UserPresencePayload} event
 * @returns {Room}
 */
export function userLeft(room, { room_id, user_id, participant_count }) {
  if (room_id !== room.room_id) return room;
  const participants = room.participants.filter((other) => other !== user_id);
  const members = room.members?.filter((other) => other.user_id !== user_id);
  return { ...room, participants, members, participant_count: participant_count ?? participants.length };
}

/**
 * @param {Room} room
 * @param {import('./types.js').HostChangedPayload} event
 * @returns {Room}
 */
export function hostChanged(room, { room_id, host_id, version }) {
  if (room_id !== room.room_id) return room;
  if (version === undefined) return { ...room, host_id };
  // Not by the room's version: a state that names no host may have overtaken this.
  if (version <= (room.host_version ?? -1)) return room;
  return { ...room, host_id, host_version: version, version: Math.max(room.version, version) };
}
