// The manual testing checklist of the first design, ten points, each found by its name.

import assert from 'node:assert/strict';
import { api, ask, befriend, connect, createFriendsRoom, createRoom, eventually, newcomer, register, User } from '../support/api.mjs';
import { isAccepted, isFriendRequest, isNow, isProblem, isRoom, isRoomJoined, isSession, isStateSynced, isStranger } from '../support/expect.mjs';
import { arrive, enter, playing, scene, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: { ...unlimited, PRESENCE_GRACE: '1s', ROOM_EMPTY_GRACE: '1s' } });

stories('the checklist', () => {
  story('checklist 1: user registration with username', async () => {
    const form = newcomer('ann');
    const answer = await api(url)('POST', '/api/v1/auth/register', { body: form });
    assert.equal(answer.status, 201, answer.text);
    isSession(answer.body);
    assert.equal(answer.body.user.username, form.username);
    const ann = new User(url, form.password, answer.body);
    assert.equal((await ann.get('/api/v1/auth/me')).body.username, form.username);
    const second = { ...newcomer('ann'), username: form.username };
    isProblem(await api(url)('POST', '/api/v1/auth/register', { body: second }), 409, 'CONFLICT');
  });

  story('checklist 2: search users by username', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const beginning = ben.username.slice(0, -1);
    const answer = await ann.post(`/api/v1/friends/search?q=${beginning}&limit=20`);
    assert.equal(answer.status, 200, answer.text);
    const found = answer.body.users.find((/** @type {any} */ user) => user.user_id === ben.user_id);
    isStranger(found, ben);
    assert.equal(found.relationship, 'none');
    const none = await ann.get('/api/v1/friends/search?q=nobody-has-this');
    assert.deepEqual(none.body.users, []);
  });

  story('checklist 3: send/accept/reject friend requests', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const cat = await register(url, 'cat');
    const toBen = await ask(ann, ben);
    isFriendRequest(toBen, 'pending');
    const accepted = await ben.post('/api/v1/friends/accept', { request_id: toBen.request_id });
    assert.equal(accepted.status, 200, accepted.text);
    isFriendRequest(accepted.body, 'accepted');
    const toCat = await ask(ann, cat);
    const rejected = await cat.post('/api/v1/friends/reject', { request_id: toCat.request_id });
    assert.equal(rejected.status, 200, rejected.text);
    isFriendRequest(rejected.body, 'rejected');
    const friends = (await ann.get('/api/v1/friends')).body.friends;
    assert.deepEqual(friends.map((/** @type {any} */ friend) => friend.user_id), [ben.user_id]);
  });

  story('checklist 4: create friends-only room', async () => {
    const ann = await register(url, 'ann');
    const stranger = await register(url, 'ben');
    const room = await createRoom(ann, { name: 'My Room', is_friends_only: true });
    isRoom(room);
    assert.equal(room.is_friends_only, true);
    assert.equal(room.host_id, ann.user_id);
    isProblem(await stranger.get(`/api/v1/rooms/${room.room_id}`), 404, 'NOT_FOUND');
    isProblem(await stranger.post('/api/v1/rooms/join', { room_id: room.room_id }), 404, 'JOIN_FAILED');
  });

  story('checklist 5: join room via API', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    await befriend(ann, ben);
    const room = await createFriendsRoom(ann);
    const answer = await ben.post('/api/v1/rooms/join', { room_id: room.room_id });
    assert.equal(answer.status, 200, answer.text);
    isRoom(answer.body);
    assert.deepEqual(answer.body.participants, [ann.user_id, ben.user_id]);
  });

  story('checklist 6: connect WebSocket', async () => {
    const ann = await register(url, 'ann');
    const connection = await connect(ann, { transports: ['websocket'] });
    assert.equal(connection.socket.io.engine.transport.name, 'websocket');
    assert.equal(connection.connected.user_id, ann.user_id);
    isNow(connection.connected.timestamp);
    connection.send('ping', {});
    isNow((await connection.next('pong')).timestamp);
  });

  story('checklist 7: host plays music, listeners sync', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const cat = await register(url, 'cat');
    const { connections } = await scene('websocket', ann, ben, cat);
    const [host, ...listeners] = connections;
    for (const position of [45.5, 46.5, 47.5]) {
      const ack = await host.emit('sync_state', { playback_state: playing({ position, current_time: position }), current_song: SONG });
      isAccepted(ack);
      for (const listener of listeners) {
        const state = await listener.next('state_synced');
        isStateSynced(state);
        assert.equal(state.playback_state.position, position);
        assert.equal(state.playback_state.playing, true);
        assert.deepEqual(state.current_song, SONG);
        assert.equal(state.version, ack.version);
      }
    }
  });

  story('checklist 8: late joiner receives current state', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const { room, connections } = await scene('websocket', ann);
    const [host] = connections;
    const timestamp_ms = Date.now() - 2000;
    const ack = await host.emit('sync_state', { playback_state: playing({ position: 30, timestamp_ms }), current_song: SONG });
    isAccepted(ack);
    const late = await connect(ben);
    late.send('join_room', { room_id: room.room_id });
    const joined = await late.next('room_joined');
    isRoomJoined(joined);
    assert.deepEqual(joined.room_state.current_song, SONG);
    assert.equal(joined.room_state.version, ack.version);
    late.send('request_sync', { room_id: room.room_id });
    const state = await late.next('state_synced');
    assert.deepEqual(state.playback_state, joined.room_state.playback_state);
    // Where the song is now follows from what the state says, by the server's clock.
    const pong = await late.emit('ping', {});
    const { position, timestamp_ms: at, rate } = state.playback_state;
    const now = position + ((pong.sent_ms - at) / 1000) * rate;
    const expected = 30 + (pong.sent_ms - timestamp_ms) / 1000;
    assert.ok(Math.abs(now - expected) < 0.002, `${now} instead of ${expected}`);
  });

  story('checklist 9: host transfer when host leaves', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const cat = await register(url, 'cat');
    const { room, connections } = await scene('websocket', ann, ben, cat);
    const [host, next, third] = connections;
    host.send('leave_room_socket', { room_id: room.room_id });
    assert.equal((await host.next('room_left')).reason, 'left');
    for (const connection of [next, third]) {
      const changed = await connection.next('host_changed');
      assert.equal(changed.host_id, ben.user_id);
      assert.equal(changed.previous_host_id, ann.user_id);
      assert.equal(changed.reason, 'left');
    }
    isAccepted(await next.emit('sync_state', { playback_state: playing({ position: 90 }), current_song: SONG }));
    assert.equal((await third.next('state_synced')).playback_state.position, 90);
    // And when the next one is lost instead of leaving.
    next.drop();
    const changed = await third.next('host_changed');
    assert.equal(changed.host_id, cat.user_id);
    assert.equal(changed.reason, 'disconnected');
  });

  story('checklist 10: room cleanup when empty', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const room = await createRoom(ann);
    const host = await enter(ann, room);
    const guest = await arrive(ben, room, [host]);
    isAccepted(await host.emit('leave_room_socket', {}));
    isAccepted(await guest.emit('leave_room_socket', {}));
    const gone = await eventually(async () => {
      const answer = await ann.get(`/api/v1/rooms/${room.room_id}`);
      return answer.status === 200 ? undefined : answer;
    }, 'the room is removed');
    isProblem(gone, 404, 'NOT_FOUND');
    isProblem(await ben.post('/api/v1/rooms/join', { room_id: room.room_id }), 404, 'JOIN_FAILED');
    assert.deepEqual((await ann.get('/api/v1/rooms')).body.rooms, []);
  });
});
