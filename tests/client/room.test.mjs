import assert from 'node:assert/strict';
import { test } from 'node:test';
import { syncPlayback } from '../../static/friend-room-client.js';
import { addRoom, clientOf, startPeer, synced } from './support.mjs';

const limits = { timeout: 20_000 };

/** ann hosts room_one, bob listens. */
async function twoInARoom(t) {
  const peer = await startPeer(t);
  const room = addRoom(peer);
  const ann = clientOf(t, peer, 'ann-1');
  const bob = clientOf(t, peer, 'bob-1');
  await ann.client.connect();
  await bob.client.connect();
  await ann.client.joinRoom('room_one');
  await bob.client.joinRoom('room_one');
  await ann.log.next('onUserJoined');
  await bob.log.next('onRoomStateChange');
  await ann.log.next('onRoomStateChange');
  return { peer, room, ann, bob };
}

test('joining tells the room\'s state once, and who hosts', limits, async (t) => {
  const { ann, bob } = await twoInARoom(t);
  assert.equal(ann.client.isHost, true);
  assert.equal(bob.client.isHost, false);
  assert.equal(bob.client.roomId, 'room_one');
  assert.deepEqual(bob.client.room.participants, ['user_ann', 'user_bob']);
  assert.equal(bob.log.all('onRoomJoined').length, 1, 'event and acknowledgement are one joining');
  assert.deepEqual(bob.log.all('onRoomStateChange'), []);
});

test('participants follow who comes and goes', limits, async (t) => {
  const { ann, bob } = await twoInARoom(t);
  assert.deepEqual(ann.client.room.participants, ['user_ann', 'user_bob']);
  assert.equal(ann.client.room.participant_count, 2);
  await bob.client.leaveRoom();
  assert.equal(bob.client.roomId, null);
  assert.equal((await bob.log.next('onRoomLeft')).reason, 'left');
  assert.deepEqual(bob.log.all('onRoomLeft'), []);
  await ann.log.next('onUserLeft');
  assert.deepEqual(ann.client.room.participants, ['user_ann']);
});

test('what the host plays, the listener plays at the same moment', limits, async (t) => {
  const { ann, bob } = await twoInARoom(t);
  const ack = await ann.client.syncState({
    playback_state: { playing: true, position: 45.5, timestamp_ms: 1_700_000_000_000 }, current_song: { title: 'Song' },
  });
  assert.equal(ack.version, 2);
  const state = await bob.log.next('onRoomStateChange');
  assert.equal(syncPlayback(state.playback_state, 1_700_000_002_000), 47.5);
  assert.equal(state.current_song.title, 'Song');
  assert.equal(state.room_id, 'room_one');
  assert.equal(state.is_host, false);
  assert.equal(state.host_id, 'user_ann');
  assert.equal(state.participant_count, 2);
  assert.equal(ann.client.room.version, 2, 'the host knows its own state');
  assert.equal(ann.client.room.current_song.title, 'Song');
});

test('a stale state never undoes a newer one', limits, async (t) => {
  const { peer, room, bob } = await twoInARoom(t);
  const at = (version) => ({ ...synced(peer, 'room_one'), version, playback_state: { ...room.playback_state, position: version } });
  for (const version of [5, 4, 5, 3, 6]) peer.io.emit('state_synced', at(version));
  const seen = [(await bob.log.next('onRoomStateChange')).version, (await bob.log.next('onRoomStateChange')).version];
  assert.deepEqual(seen, [5, 6]);
  assert.equal(bob.client.room.playback_state.position, 6);
  assert.deepEqual(bob.log.all('onRoomStateChange'), []);
});

test('requestSync answers also where nothing is new, and tells only what is', limits, async (t) => {
  const { peer, room, bob } = await twoInARoom(t);
  assert.equal((await bob.client.requestSync()).version, 1);
  assert.deepEqual(bob.log.all('onRoomStateChange'), []);
  room.version = 3;
  assert.equal((await bob.client.requestSync()).version, 3);
  assert.equal((await bob.log.next('onRoomStateChange')).version, 3);
  assert.equal(peer.log.all('socket:request_sync').length, 2);
});

test('the host hands over, and the new host\'s ticks begin by themselves', limits, async (t) => {
  const { peer, ann, bob } = await twoInARoom(t);
  let position = 0;
  bob.client.startSync(() => ({ playback_state: { playing: true, position: (position += 1) } }), 20);
  ann.client.startSync(() => ({ playback_state: { playing: true, position: 500 } }), 20);
  const [, first] = await new Promise((resolve) => {
    void peer.log.next('socket:sync_state').then((payload) => resolve([null, payload]));
  });
  assert.equal(first.playback_state.position, 500);
  assert.equal(position, 0, 'a listener\'s player is not even sampled');
  await ann.client.transferHost('user_bob');
  assert.equal((await bob.log.next('onHostChanged')).host_id, 'user_bob');
  assert.equal((await bob.log.next('onRoomStateChange', (s) => s.host_id === 'user_bob')).is_host, true);
  assert.equal(bob.client.isHost, true);
  assert.equal(ann.client.isHost, false);
  await peer.log.next('socket:sync_state', (payload) => payload.playback_state.position === 1);
  assert.deepEqual(ann.log.all('onError'), []);
});

test('syncNow goes out at once, with the server time of the sample', limits, async (t) => {
  const { peer, ann } = await twoInARoom(t);
  for (let i = 0; i < 5; i += 1) await peer.log.next('socket:ping', (_, socket) => socket.data.userId === 'user_ann');
  await ann.client.requestSync();
  ann.client.startSync(() => ({ playback_state: { playing: true, position: 3 } }), 60_000);
  const before = ann.client.serverNow();
  const ack = await ann.client.syncNow();
  assert.equal(ack.version, 2);
  const { playback_state, room_id } = await peer.log.next('socket:sync_state');
  assert.equal(room_id, 'room_one');
  assert.ok(playback_state.timestamp_ms >= before - 1 && playback_state.timestamp_ms <= ann.client.serverNow() + 1);
});

test('the ticks pause while there is no connection, and go on after the rejoin', limits, async (t) => {
  const { peer, ann } = await twoInARoom(t);
  ann.client.startSync(() => ({ playback_state: { playing: true, position: 3 } }), 20);
  await peer.log.next('socket:sync_state');
  const [mine] = [...(await peer.sockets()).values()].filter((s) => s.data.userId === 'user_ann');
  mine.conn.close();
  const next = await peer.log.next('connection', (socket) => socket.data.userId === 'user_ann' && socket.id !== mine.id);
  const order = [];
  next.onAny((event) => event !== 'ping' && order.push(event));
  await peer.log.next('socket:sync_state', (_, socket) => socket === next);
  assert.equal(order[0], 'join_room');
  assert.deepEqual(ann.log.all('onError'), []);
});

test('moving to another room leaves the first', limits, async (t) => {
  const { peer, bob } = await twoInARoom(t);
  addRoom(peer, 'room_two', 'user_bob');
  const join = peer.handlers.join_room;
  peer.handlers.join_room = (socket, payload, ack) => {
    socket.leave('room_one');
    join(socket, payload, ack);
    // Also in this order it is the old room that is left.
    socket.emit('room_left', { room_id: 'room_one', reason: 'moved', timestamp: peer.stamp() });
  };
  await bob.client.joinRoom('room_two');
  assert.equal((await bob.log.next('onRoomLeft')).reason, 'moved');
  assert.equal(bob.client.roomId, 'room_two');
  assert.equal(bob.client.isHost, true);
});

test('taken out of a room, or with the room closed, it is in none', limits, async (t) => {
  const { peer, ann, bob } = await twoInARoom(t);
  const [his] = [...(await peer.sockets()).values()].filter((s) => s.data.userId === 'user_bob');
  his.emit('room_left', { room_id: 'room_one', reason: 'access_revoked', timestamp: peer.stamp() });
  assert.equal((await bob.log.next('onRoomLeft')).reason, 'access_revoked');
  assert.equal(bob.client.roomId, null);
  peer.io.emit('room_closed', { room_id: 'room_one', reason: 'closed_by_host', timestamp: peer.stamp() });
  assert.equal((await ann.log.next('onRoomClosed')).reason, 'closed_by_host');
  assert.equal(ann.client.room, null);
  assert.equal(ann.client.isHost, false);
});

test('leaving without a connection means not coming back', limits, async (t) => {
  const { peer, bob } = await twoInARoom(t);
  const [his] = [...(await peer.sockets()).values()].filter((s) => s.data.userId === 'user_bob');
  his.conn.close();
  await bob.log.next('onConnectionChange', (s) => s === 'reconnecting');
  await bob.client.leaveRoom();
  assert.equal(bob.client.roomId, null);
  await bob.client.connect();
  await bob.client.requestSync().catch(() => {});
  assert.equal(peer.log.all('socket:join_room').filter((p) => p.room_id === 'room_one').length, 2, 'one joining each, no third');
});

test('a server error nobody waits for reaches onError; a callback that throws stops nothing', limits, async (t) => {
  const { peer, bob } = await twoInARoom(t);
  const reported = t.mock.method(console, 'error', () => {});
  const { onRoomStateChange } = bob.client;
  bob.client.onRoomStateChange = () => {
    throw new Error('the page is broken');
  };
  peer.io.emit('state_synced', { ...synced(peer, 'room_one'), version: 4 });
  peer.io.emit('error', { code: 'RATE_LIMITED', message: 'slow down' });
  assert.equal((await bob.log.next('onError')).code, 'RATE_LIMITED');
  assert.equal(bob.client.room.version, 4);
  assert.equal(reported.mock.callCount(), 1);
  bob.client.onRoomStateChange = onRoomStateChange;
});
