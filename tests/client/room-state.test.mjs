import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as rooms from '../../static/core/room-state.js';

const room = {
  room_id: 'room_one', host_id: 'user_ann', name: null, is_friends_only: false, current_song: { title: 'Now' },
  playback_state: { playing: false, position: 0 }, participants: ['user_ann'], participant_count: 1, version: 5,
};
const synced = (version, extra = {}) => ({ room_id: 'room_one', playback_state: { playing: true, position: version }, current_song: null, version, ...extra });

test('a state that is not newer changes nothing', () => {
  assert.equal(rooms.stateSynced(room, synced(4)), room);
  assert.equal(rooms.stateSynced(room, synced(5)), room);
  assert.equal(rooms.stateSynced(room, synced(6)).playback_state.position, 6);
  assert.equal(rooms.stateSynced(room, synced(9, { room_id: 'room_two' })), room);
});

test('a song left out stays, null clears it', () => {
  assert.deepEqual(rooms.stateSynced(room, synced(6, { current_song: undefined })).current_song, { title: 'Now' });
  assert.equal(rooms.stateSynced(room, synced(6)).current_song, null);
});

test('a count that comes with a state is taken, however new the state is', () => {
  for (const version of [4, 6]) {
    const next = rooms.stateSynced(room, synced(version, { participant_count: 597 }));
    assert.equal(next.participant_count, 597);
    assert.equal(next.version, Math.max(5, version));
    assert.equal(rooms.stateSynced(next, synced(4, { participant_count: 597 })), next);
  }
  assert.equal(rooms.stateSynced(room, synced(4, { room_id: 'room_two', participant_count: 597 })), room);
});

test('a snapshot older than what is known brings only who is there', () => {
  const joined = { room_id: 'room_one', is_host: false, timestamp: '', room_state: { ...room, version: 3, host_id: 'user_old', participants: ['user_ann', 'user_bob'], participant_count: 2 } };
  const next = rooms.roomJoined(room, joined);
  assert.equal(next.version, 5);
  assert.equal(next.host_id, 'user_ann');
  assert.deepEqual(next.participants, ['user_ann', 'user_bob']);
  assert.equal(rooms.roomJoined({ ...room, room_id: 'room_two' }, joined).version, 3);
});

test('participants come, go, and are listed once, in order', () => {
  const event = (user_id, participant_count) => ({ room_id: 'room_one', user_id, username: '', participant_count, timestamp: '' });
  let next = rooms.userJoined(room, event('user_bob', 2));
  next = rooms.userJoined(next, event('user_bob', 2));
  next = rooms.userJoined(next, event('user_cyd', 3));
  assert.deepEqual(next.participants, ['user_ann', 'user_bob', 'user_cyd']);
  next = rooms.userLeft(next, event('user_bob', 2));
  assert.deepEqual(next.participants, ['user_ann', 'user_cyd']);
  assert.equal(next.participant_count, 2);
  assert.equal(rooms.userLeft(next, { ...event('user_ann', 1), room_id: 'room_two' }), next);
});

test('beyond 500 participants only the count goes on', () => {
  const full = { ...room, participants: Array.from({ length: 500 }, (_, i) => `user_${i}`), participant_count: 500 };
  const next = rooms.userJoined(full, { room_id: 'room_one', user_id: 'user_new', username: '', participant_count: 501, timestamp: '' });
  assert.equal(next.participants.length, 500);
  assert.equal(next.participant_count, 501);
});

test('what the host sent becomes its own state, with the version the server gave it', () => {
  const sample = { playback_state: { playing: true, position: 4, timestamp_ms: 77 } };
  const next = rooms.stateSent(room, sample, { version: 6, timestamp: '2024-01-01T00:00:00.000Z' });
  assert.equal(next.version, 6);
  assert.equal(next.playback_state.timestamp_ms, 77);
  assert.deepEqual(next.current_song, { title: 'Now' });
  assert.equal(rooms.stateSent(next, sample, { version: 6, timestamp: '' }), next);
});

test('a change of host in another room is not ours', () => {
  assert.equal(rooms.hostChanged(room, { room_id: 'room_two', host_id: 'user_bob', previous_host_id: null, reason: 'left', timestamp: '' }), room);
  assert.equal(rooms.hostChanged(room, { room_id: 'room_one', host_id: 'user_bob', previous_host_id: null, reason: 'left', timestamp: '' }).host_id, 'user_bob');
});

test('a later change of host holds, whatever state overtakes it, and an earlier one does not', () => {
  const changed = (host_id, version) => ({ room_id: 'room_one', host_id, previous_host_id: 'user_ann', reason: 'left', version, timestamp: '' });
  let next = rooms.hostChanged(room, changed('user_bob', 6));
  assert.equal(next.host_id, 'user_bob');
  next = rooms.stateSynced(next, synced(9));
  next = rooms.hostChanged(next, changed('user_cyd', 8));
  assert.equal(next.host_id, 'user_cyd');
  assert.equal(next.version, 9);
  assert.equal(rooms.hostChanged(next, changed('user_bob', 6)), next);
});

test('names come and go with their users', () => {
  const named = { ...room, members: [{ user_id: 'user_ann', username: 'ann' }] };
  const event = (user_id, username) => ({ room_id: 'room_one', user_id, username, participant_count: 2, timestamp: '' });
  let next = rooms.userJoined(named, event('user_bob', 'bob'));
  next = rooms.userJoined(next, event('user_bob', 'bob'));
  assert.deepEqual(next.members.map((member) => member.username), ['ann', 'bob']);
  next = rooms.userLeft(next, event('user_ann', 'ann'));
  assert.deepEqual(next.members.map((member) => member.username), ['bob']);
});
