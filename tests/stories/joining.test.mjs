// Being in a room by socket: joining, moving, leaving, several devices, and losing the right to be there.

import assert from 'node:assert/strict';
import { befriend, cast, connect, createFriendsRoom, createRoom } from '../support/api.mjs';
import { has, isAccepted, isNow, isRefused, isRoomJoined } from '../support/expect.mjs';
import { arrive, enter, playing, scene, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const [ann, ben, cat] = await cast(url, 'ann', 'ben', 'cat');

const NOWHERE = 'room_01h455vb4pex5vsknk084sn02q';

/** @typedef {import('../support/api.mjs').User} User */
/** @typedef {import('../support/api.mjs').Connection} Connection */

/** @param {any} payload of `user_joined` or `user_left` @param {{room_id: string}} room @param {User} user @param {number} count */
function isAbout(payload, room, user, count) {
  assert.equal(payload.room_id, room.room_id);
  assert.equal(payload.user_id, user.user_id);
  assert.equal(payload.username, user.username);
  assert.equal(payload.participant_count, count);
  isNow(payload.timestamp);
}

/** Everything that the room told `observer` before the host's next state. @param {Connection} host @param {Connection} observer */
async function toldBeforeNextState(host, observer) {
  const { version } = await host.emit('sync_state', { playback_state: playing() });
  const { before } = await observer.until('state_synced', (state) => state.version === version);
  return before.map(({ event }) => event);
}

overBothTransports('joining and leaving', (transport) => {
  const transports = [transport];

  story('joining is answered with the state of the room, and the others are told', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const guest = await connect(ben, { transports });
    const ack = await guest.emit('join_room', { room_id: room.room_id });
    const joined = await guest.next('room_joined');
    isAccepted(ack, joined);
    isRoomJoined(joined);
    assert.equal(joined.room_id, room.room_id);
    assert.equal(joined.is_host, false);
    assert.equal(joined.room_state.host_id, ann.user_id);
    assert.equal(joined.room_state.name, null);
    assert.equal(joined.room_state.is_friends_only, false);
    assert.equal(joined.room_state.current_song, null);
    assert.equal(joined.room_state.playback_state.playing, false);
    assert.deepEqual(joined.room_state.participants, [ann.user_id, ben.user_id]);
    assert.equal(joined.room_state.participant_count, 2);
    isAbout(await host.next('user_joined'), room, ben, 2);
    assert.deepEqual(await guest.fence(), [], 'nobody is told of oneself');
    const seen = (await ben.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.deepEqual(seen.participants, [ann.user_id, ben.user_id]);
  });

  story('the host is told to be one', async () => {
    const room = await createRoom(ann, { name: 'Mine', is_friends_only: true });
    const host = await connect(ann, { transports });
    host.send('join_room', { room_id: room.room_id });
    const joined = await host.next('room_joined');
    assert.equal(joined.is_host, true);
    assert.equal(joined.room_state.name, 'Mine');
    assert.equal(joined.room_state.is_friends_only, true);
    assert.deepEqual(joined.room_state.participants, [ann.user_id]);
  });

  story('joining by REST and then by socket is told once', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    await ben.post('/api/v1/rooms/join', { room_id: room.room_id });
    isAbout(await host.next('user_joined'), room, ben, 2);
    await enter(ben, room, transport);
    await enter(cat, room, transport);
    const { payload, before } = await host.until('user_joined');
    isAbout(payload, room, cat, 3);
    assert.deepEqual(before, []);
  });

  story('joining again with the same connection changes nothing for anybody', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const ack = await guest.emit('join_room', { room_id: room.room_id });
    isAccepted(ack, await guest.next('room_joined'));
    assert.deepEqual(ack.room_state.participants, [ann.user_id, ben.user_id]);
    await arrive(cat, room, [guest]);
    isAbout(await host.next('user_joined'), room, cat, 3);
    assert.deepEqual(await host.fence(), []);
  });

  story('a room that is hidden, not there or full is not joined', async () => {
    const guest = await connect(ben, { transports });
    const hidden = await createFriendsRoom(ann);
    const full = await createRoom(ann, { is_friends_only: false, max_participants: 1 });
    const one = await guest.emit('join_room', { room_id: hidden.room_id });
    const other = await guest.emit('join_room', { room_id: NOWHERE });
    isRefused(one, 'JOIN_FAILED');
    assert.deepEqual(one, other, 'nothing tells the hidden room from one that does not exist');
    isRefused(await guest.emit('join_room', { room_id: full.room_id }), 'JOIN_FAILED');
    guest.send('join_room', { room_id: hidden.room_id });
    const error = await guest.next('error');
    has(error, { message: 'string' });
    assert.equal(error.code, 'JOIN_FAILED');
    assert.deepEqual(await guest.fence(), []);
  });

  story('who cannot join another room stays in the first', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    isRefused(await guest.emit('join_room', { room_id: NOWHERE }), 'JOIN_FAILED');
    const ack = await guest.emit('request_sync', {});
    isAccepted(ack, await guest.next('state_synced'));
    assert.equal(ack.room_id, room.room_id);
    assert.deepEqual(await toldBeforeNextState(host, guest), []);
    assert.deepEqual(await host.fence(), []);
  });

  story('joining another room leaves the first', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const other = await createRoom(cat);
    isAccepted(await guest.emit('join_room', { room_id: other.room_id }));
    const left = await guest.next('room_left');
    assert.equal(left.room_id, room.room_id);
    assert.equal(left.reason, 'moved');
    isNow(left.timestamp);
    assert.equal((await guest.next('room_joined')).room_id, other.room_id);
    isAbout(await host.next('user_left'), room, ben, 1);
    isRefused(await guest.emit('request_sync', { room_id: room.room_id }), 'NOT_IN_ROOM');
    assert.equal((await guest.emit('request_sync', {})).room_id, other.room_id);
  });

  story('leaving is told to the one and to the others', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const ack = await guest.emit('leave_room_socket', { room_id: room.room_id });
    const left = await guest.next('room_left');
    isAccepted(ack, left);
    assert.equal(left.room_id, room.room_id);
    assert.equal(left.reason, 'left');
    isNow(left.timestamp);
    isAbout(await host.next('user_left'), room, ben, 1);
    isRefused(await guest.emit('leave_room_socket', {}), 'NOT_IN_ROOM');
    isRefused(await guest.emit('request_sync', {}), 'NOT_IN_ROOM');
    assert.deepEqual((await ann.get(`/api/v1/rooms/${room.room_id}`)).body.participants, [ann.user_id]);
  });

  story('who has left is told no more of the room', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, guest, witness] = connections;
    isAccepted(await guest.emit('leave_room_socket', {}));
    await guest.next('room_left');
    await toldBeforeNextState(host, witness);
    // Ben is back: had the state before reached him, it would be here.
    isAccepted(await guest.emit('join_room', { room_id: room.room_id }));
    assert.deepEqual((await guest.until('room_joined')).before, []);
  });

  story('the room a connection is in is meant where none is named, and no other may be', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    const other = await createRoom(ann);
    for (const [event, more] of /** @type {[string, object][]} */ ([
      ['sync_state', { playback_state: playing() }],
      ['transfer_host', { user_id: ben.user_id }],
      ['request_sync', {}],
      ['leave_room_socket', {}],
    ])) {
      isRefused(await host.emit(event, { room_id: other.room_id, ...more }), 'NOT_IN_ROOM');
    }
    assert.deepEqual(await toldBeforeNextState(host, guest), []);
  });

  story('a connection that is in no room has nothing to say', async () => {
    const connection = await connect(ann, { transports });
    await createRoom(ann);
    isRefused(await connection.emit('sync_state', { playback_state: playing() }), 'NOT_IN_ROOM');
    isRefused(await connection.emit('transfer_host', { user_id: ben.user_id }), 'NOT_IN_ROOM');
    isRefused(await connection.emit('request_sync', {}), 'NOT_IN_ROOM');
    isRefused(await connection.emit('leave_room_socket', {}), 'NOT_IN_ROOM');
  });

  story('events take effect in the order in which they were sent', async () => {
    const { room } = await scene(transport, ann);
    const other = await createRoom(ann);
    const host = await connect(ann, { transports });
    const acks = await Promise.all([
      host.emit('join_room', { room_id: room.room_id }),
      ...[1, 2, 3, 4, 5].map((position) => host.emit('sync_state', { playback_state: playing({ position }) })),
      host.emit('request_sync', {}),
      host.emit('join_room', { room_id: other.room_id }),
      host.emit('sync_state', { room_id: other.room_id, playback_state: playing({ position: 6 }) }),
      host.emit('leave_room_socket', {}),
      host.emit('request_sync', {}),
    ]);
    for (const ack of acks.slice(0, -1)) isAccepted(ack);
    isRefused(acks[acks.length - 1], 'NOT_IN_ROOM');
    const versions = acks.slice(1, 6).map(({ version }) => version);
    assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b));
    assert.equal(acks[6].playback_state.position, 5);
    assert.equal(acks[6].version, versions[4]);
    // The event that ends one room and the one that begins the next belong to one effect.
    const own = host.log.map(({ event }) => event);
    assert.deepEqual(own.slice(0, 3), ['connected', 'room_joined', 'state_synced']);
    assert.deepEqual(own.slice(3, 5).sort(), ['room_joined', 'room_left']);
    assert.deepEqual(own.slice(5), ['room_left']);
  });
});

overBothTransports('several devices', (transport) => {
  story('a user who joins with two devices is told once, and leaves with the last', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const phone = await arrive(ben, room, [host], transport);
    const desk = await enter(ben, room, transport);
    const seen = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.deepEqual(seen.participants, [ann.user_id, ben.user_id]);
    isAccepted(await phone.emit('leave_room_socket', {}));
    assert.equal((await phone.next('room_left')).reason, 'left');
    // The other device is still told of the room, and the host of nobody's leaving.
    assert.deepEqual(await toldBeforeNextState(host, desk), []);
    assert.deepEqual(await host.fence(), []);
    isAccepted(await desk.emit('leave_room_socket', {}));
    isAbout(await host.next('user_left'), room, ben, 1);
    assert.deepEqual(await host.fence(), []);
  });

  story('devices of one user may be in different rooms', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const phone = await arrive(ben, room, [host], transport);
    const other = await createRoom(ben);
    const desk = await enter(ben, other, transport);
    assert.equal((await phone.emit('request_sync', {})).room_id, room.room_id);
    assert.equal((await desk.emit('request_sync', {})).room_id, other.room_id);
    assert.deepEqual(await host.fence(), []);
  });

  story('leaving by REST takes every device out, and is told once', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const devices = [await arrive(ben, room, [host], transport), await enter(ben, room, transport)];
    const elsewhere = await connect(ben, { transports: [transport] });
    assert.equal((await ben.post(`/api/v1/rooms/${room.room_id}/leave`)).status, 204);
    for (const device of devices) {
      const left = await device.next('room_left');
      assert.equal(left.room_id, room.room_id);
      assert.equal(left.reason, 'left');
      isRefused(await device.emit('request_sync', {}), 'NOT_IN_ROOM');
    }
    isAbout(await host.next('user_left'), room, ben, 1);
    assert.deepEqual(await host.fence(), []);
    assert.deepEqual(await elsewhere.fence(), [], 'a connection that was not in the room is told nothing');
  });

  story('joining and leaving of somebody alternate, however often', async () => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const device = await connect(ben, { transports: [transport] });
    for (let i = 0; i < 5; i++) {
      device.send('join_room', { room_id: room.room_id });
      device.send('leave_room_socket', {});
    }
    isAccepted(await device.emit('join_room', { room_id: room.room_id }));
    for (let i = 0; i < 11; i++) {
      const { payload, before } = await host.until(i % 2 === 0 ? 'user_joined' : 'user_left');
      isAbout(payload, room, ben, i % 2 === 0 ? 2 : 1);
      assert.deepEqual(before, []);
    }
  });
});

overBothTransports('losing a room', (transport) => {
  story('the host closes it, and every connection is told', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    connections.push(await enter(ann, room, transport));
    assert.equal((await ann.delete(`/api/v1/rooms/${room.room_id}`)).status, 204);
    for (const connection of connections) {
      const closed = await connection.next('room_closed');
      assert.equal(closed.room_id, room.room_id);
      assert.equal(closed.reason, 'closed_by_host');
      isNow(closed.timestamp);
      isRefused(await connection.emit('request_sync', {}), 'NOT_IN_ROOM');
      isRefused(await connection.emit('join_room', { room_id: room.room_id }), 'JOIN_FAILED');
      assert.equal(connection.socket.connected, true);
    }
  });

  for (const [who, by] of /** @type {const} */ ([['the host', 'ann'], ['the friend', 'ben']])) {
    story(`unfriending by ${who} takes the former friend out of a friends-only room within 2 s`, async () => {
      const [host, friend, third] = await cast(url, 'ann', 'ben', 'cat');
      await befriend(host, friend);
      await befriend(host, third);
      const room = await createFriendsRoom(host);
      const first = await enter(host, room, transport);
      const devices = [await arrive(friend, room, [first], transport), await enter(friend, room, transport)];
      const witness = await arrive(third, room, [first, ...devices], transport);
      const [actor, other] = by === 'ann' ? [host, friend] : [friend, host];
      assert.equal((await actor.delete(`/api/v1/friends/${other.user_id}`)).status, 204);
      for (const device of devices) {
        const left = await device.next('room_left', undefined, 2000);
        assert.equal(left.room_id, room.room_id);
        assert.equal(left.reason, 'access_revoked');
        isNow(left.timestamp);
        isRefused(await device.emit('request_sync', {}), 'NOT_IN_ROOM');
        isRefused(await device.emit('join_room', { room_id: room.room_id }), 'JOIN_FAILED');
      }
      for (const observer of [first, witness]) {
        const { payload, before } = await observer.until('user_left');
        isAbout(payload, room, friend, 2);
        assert.deepEqual(before, []);
      }
      isAccepted(await first.emit('sync_state', { playback_state: playing(), current_song: SONG }));
      await witness.next('state_synced');
      for (const device of devices) assert.deepEqual(await device.fence(), []);
    });
  }

  story('unfriending a fellow guest, or the host of an open room, takes nobody out', async () => {
    const [host, one, two] = await cast(url, 'ann', 'ben', 'cat');
    await befriend(host, one);
    await befriend(host, two);
    await befriend(one, two);
    const hidden = await createFriendsRoom(host);
    const first = await enter(host, hidden, transport);
    const second = await arrive(one, hidden, [first], transport);
    const open = await createRoom(host);
    const third = await enter(one, open, transport);
    await one.delete(`/api/v1/friends/${two.user_id}`);
    assert.deepEqual(await toldBeforeNextState(first, second), []);
    // Of the two rooms it is the friends-only one that is lost, and when that has been told, the open one is not.
    await host.delete(`/api/v1/friends/${one.user_id}`);
    assert.equal((await second.next('room_left', undefined, 2000)).reason, 'access_revoked');
    assert.equal((await third.emit('request_sync', {})).room_id, open.room_id);
    assert.deepEqual((await third.fence()).map(({ event }) => event), ['state_synced']);
  });
});
