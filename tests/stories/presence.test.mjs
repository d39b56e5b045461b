// Connections that are lost without a goodbye: who notices, when, and what becomes of the room.
//
// Whoever disappears here has joined by socket alone: joining or creating by REST counts as a
// connection that was alive for 60 s, which is longer than a story should take.

import assert from 'node:assert/strict';
import { api, befriend, cast, connect, createFriendsRoom, eventually, login } from '../support/api.mjs';
import { cable } from '../support/cable.mjs';
import { isAccepted, isNow, isProblem, isRefused } from '../support/expect.mjs';
import { arrive, enter, playing, scene, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, story } from '../support/story.mjs';

const brief = await serve({
  env: {
    ...unlimited,
    PRESENCE_GRACE: '1s',
    ROOM_EMPTY_GRACE: '1s',
    SOCKET_PING_INTERVAL: '1s',
    SOCKET_PING_TIMEOUT: '2s',
  },
});
// Long enough to come back in, on a busy machine too.
const patient = await serve({ env: { ...unlimited, PRESENCE_GRACE: '5s' } });

/** @typedef {import('../support/api.mjs').User} User */
/** @typedef {import('../support/api.mjs').Connection} Connection */

const [ann, ben, cat] = await cast(brief.url, 'ann', 'ben', 'cat');

overBothTransports('a lost connection', (transport) => {
  story('is noticed by the others once, after the grace', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, lost, witness] = connections;
    const since = performance.now();
    lost.drop();
    for (const observer of [host, witness]) {
      const { payload, before } = await observer.until('user_left');
      // A lease may have been renewed a little before the connection was lost.
      assert.ok(performance.now() - since >= 900, 'not before the grace is over');
      assert.deepEqual(before, []);
      const { room_id, user_id, username, participant_count } = payload;
      assert.deepEqual(
        { room_id, user_id, username, participant_count },
        { room_id: room.room_id, user_id: ben.user_id, username: ben.username, participant_count: 2 },
      );
      isNow(payload.timestamp);
    }
    assert.deepEqual((await ann.get(`/api/v1/rooms/${room.room_id}`)).body.participants, [ann.user_id, cat.user_id]);
    isAccepted(await host.emit('sync_state', { playback_state: playing() }));
    assert.deepEqual((await witness.until('state_synced')).before, []);
  });

  story('of the host makes the one who has been there longest host', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [first, lost, third] = connections;
    isAccepted(await first.emit('sync_state', { playback_state: playing({ position: 42 }), current_song: SONG }));
    const transferred = await first.emit('transfer_host', { user_id: ben.user_id });
    isAccepted(transferred);
    for (const observer of [first, third]) await observer.next('host_changed', ({ reason }) => reason === 'transferred');
    const { version } = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body;
    lost.drop();
    for (const observer of [first, third]) {
      const changed = await observer.next('host_changed');
      assert.equal(changed.room_id, room.room_id);
      assert.equal(changed.host_id, ann.user_id);
      assert.equal(changed.previous_host_id, ben.user_id);
      assert.equal(changed.reason, 'disconnected');
      isNow(changed.timestamp);
      assert.equal((await observer.next('user_left')).user_id, ben.user_id);
    }
    const after = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.ok(after.version > version, `${after.version} > ${version}`);
    assert.equal(after.playback_state.position, 42, 'the music goes on');
    assert.deepEqual(after.current_song, SONG);
    isAccepted(await first.emit('sync_state', { playback_state: playing({ position: 43 }) }));
    await third.next('state_synced', (state) => state.playback_state.position === 43);
  });

  story('is not noticed while another device of the same user is there', async () => {
    const { room, connections } = await scene(transport, ann, ben, cat);
    const [host, phone, other] = connections;
    const desk = await enter(ben, room, transport);
    phone.drop();
    await phone.closed;
    // Cat is lost later, so when she is missed, ben would have been missed before.
    other.drop();
    const { payload, before } = await host.until('user_left');
    assert.equal(payload.user_id, cat.user_id);
    assert.deepEqual(before, []);
    assert.equal((await desk.emit('request_sync', {})).room_id, room.room_id);
  });

  story('that comes back within the grace is not noticed by anybody else', async () => {
    const [host, guest, other] = await cast(patient.url, 'ann', 'ben', 'cat');
    const { room, connections } = await scene(transport, host, guest, other);
    const [first, lost, third] = connections;
    lost.drop();
    await lost.closed;
    const back = await enter(guest, room, transport);
    third.drop();
    const { payload, before } = await first.until('user_left');
    assert.equal(payload.user_id, other.user_id);
    assert.equal(payload.participant_count, 2);
    assert.deepEqual(before, []);
    isAccepted(await first.emit('sync_state', { playback_state: playing() }));
    await back.next('state_synced');
    const { participants } = (await host.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.deepEqual(participants, [host.user_id, guest.user_id], 'with the place it had');
  });

  story('of the host that comes back within the grace leaves it host', async () => {
    const [first, host, other] = await cast(patient.url, 'ann', 'ben', 'cat');
    const { room, connections } = await scene(transport, first, host, other);
    const [observer, lost, third] = connections;
    isAccepted(await observer.emit('transfer_host', { user_id: host.user_id }));
    await observer.next('host_changed');
    lost.drop();
    await lost.closed;
    const back = await enter(host, room, transport);
    isAccepted(await back.emit('sync_state', { playback_state: playing({ position: 5 }) }));
    await observer.next('state_synced');
    third.drop();
    const { before } = await observer.until('user_left', ({ user_id }) => user_id === other.user_id);
    assert.deepEqual(before, []);
    assert.equal((await first.get(`/api/v1/rooms/${room.room_id}`)).body.host_id, host.user_id);
  });

  story('joins anew: the place is kept for the user, not for the new connection', async () => {
    const [host, guest] = await cast(patient.url, 'ann', 'ben');
    const { room, connections } = await scene(transport, host, guest);
    const [first, lost] = connections;
    lost.drop();
    await lost.closed;
    const back = await connect(guest, { transports: [transport] });
    isRefused(await back.emit('request_sync', { room_id: room.room_id }), 'NOT_IN_ROOM');
    const ack = await back.emit('join_room', { room_id: room.room_id });
    isAccepted(ack);
    assert.deepEqual(ack.room_state.participants, [host.user_id, guest.user_id]);
    assert.deepEqual(await first.fence(), []);
  });

  story('of the last one leaves an empty room, which is kept for a while and then removed', async () => {
    const [host, guest, friend] = await cast(brief.url, 'ann', 'ben', 'cat');
    await befriend(host, guest);
    await befriend(guest, friend);
    const room = await createFriendsRoom(host);
    const lost = await enter(guest, room, transport);
    assert.equal((await host.post(`/api/v1/rooms/${room.room_id}/leave`)).status, 204);
    assert.equal((await lost.next('host_changed')).host_id, guest.user_id);
    lost.drop();
    const seen = async () => (await friend.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.equal((await seen()).participant_count, 1, 'within the grace');
    const gone = await eventually(async () => {
      const answer = await friend.get(`/api/v1/rooms/${room.room_id}`);
      return answer.status === 200 ? undefined : answer;
    }, 'the room is removed');
    isProblem(gone, 404, 'NOT_FOUND');
  });
});

overBothTransports('logging out', (transport) => {
  /** @param {User} user */
  const logOut = async ({ refresh_token, url }) => {
    const answer = await api(url)('POST', '/api/v1/auth/logout', { body: { refresh_token } });
    assert.equal(answer.status, 204, answer.text);
  };

  for (const first of ['', ', by a page that closes its connection first,']) {
    story(`leaves the room at once${first} and the next one is host`, async () => {
      const [host, guest, other] = await cast(patient.url, 'ann', 'ben', 'cat');
      const { room, connections } = await scene(transport, host, guest, other);
      const [leaving, ...observers] = connections;
      if (first) {
        await befriend(host, guest);
        leaving.close();
        const isAway = async () => !(await guest.get('/api/v1/friends')).body.friends[0].online;
        await eventually(isAway, 'the connection is gone');
      }
      await logOut(host);
      for (const observer of observers) {
        const { payload: changed, before } = await observer.until('host_changed');
        // Not "disconnected", which it would be after the grace.
        assert.equal(changed.reason, 'left');
        assert.equal(changed.host_id, guest.user_id);
        assert.deepEqual(before.map(({ event, payload }) => [event, payload.participant_count]), [['user_left', 2]]);
      }
      const { participants } = (await guest.get(`/api/v1/rooms/${room.room_id}`)).body;
      assert.deepEqual(participants, [guest.user_id, other.user_id]);
      isAccepted(await observers[0].emit('sync_state', { playback_state: playing() }));
    });
  }

  story('with a stolen token leaves the room at once, too', async () => {
    const [host, guest] = await cast(patient.url, 'ann', 'ben');
    const { connections } = await scene(transport, host, guest);
    const stolen = host.refresh_token;
    // Twice: only the last but one may be traded again.
    await host.refresh();
    await host.refresh();
    const answer = await api(host.url)('POST', '/api/v1/auth/refresh', { body: { refresh_token: stolen } });
    isProblem(answer, 401, 'AUTH_REQUIRED');
    assert.equal((await connections[1].next('host_changed')).reason, 'left');
  });

  story('on one device is not noticed while another session of the same user is there', async () => {
    const [host, guest, other] = await cast(brief.url, 'ann', 'ben', 'cat');
    const { room, connections } = await scene(transport, host, guest, other);
    const [leaving, observer, third] = connections;
    const elsewhere = await enter(await login(host), room, transport);
    await logOut(host);
    await leaving.closed;
    third.drop();
    const { payload, before } = await observer.until('user_left');
    assert.equal(payload.user_id, other.user_id);
    assert.deepEqual(before, []);
    isAccepted(await elsewhere.emit('sync_state', { playback_state: playing() }));
  });
});

overBothTransports('a silent connection', (transport) => {
  /** Lets somebody in through a cable of their own. @param {import('node:test').TestContext} t @param {User} user @param {{room_id: string}} room @param {Connection[]} there */
  async function wired(t, user, room, there) {
    const line = await cable(user.url, t);
    // Only this connection goes through the cable; what the user asks by REST does not.
    const away = Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url: line.url });
    return { line, connection: await arrive(away, room, there, transport) };
  }

  story('is lost like any other once it misses a heartbeat', async (t) => {
    const { room, connections } = await scene(transport, ann);
    const [host] = connections;
    const { line, connection } = await wired(t, ben, room, [host]);
    line.cut();
    const { payload, before } = await host.until('user_left');
    assert.equal(payload.user_id, ben.user_id);
    assert.deepEqual(before, []);
    connection.close();
  });

  story('does not keep the others from hearing the music', async (t) => {
    const { room, connections } = await scene(transport, ann, cat);
    const [host, listener] = connections;
    const { line, connection } = await wired(t, ben, room, [host, listener]);
    line.cut();
    for (let position = 0; position < 150; position++) {
      const state = { playback_state: playing({ position }), current_song: { ...SONG, notes: 'x'.repeat(7000) } };
      isAccepted(await host.emit('sync_state', state));
      await listener.next('state_synced', (each) => each.playback_state.position === position);
    }
    const last = await listener.emit('request_sync', {});
    assert.equal(last.playback_state.position, 149);
    connection.close();
  });
});
