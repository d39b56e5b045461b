import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { FriendRoomClient } from '../../static/friend-room-client.js';
import { Connection } from '../../static/core/connection.js';
import { SocketError } from '../../static/core/errors.js';
import { loadIo } from '../../static/platform.js';
import { addRoom, clientOf, FakeTime, letRefresh, refusal, settled, startPeer } from './support.mjs';

const limits = { timeout: 20_000 };
const session = { access_token: 'ann-1', refresh_token: 'r1', user: { user_id: 'user_ann', username: 'ann', name: null } };

test('connect says who we are, and the states are told', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, 'ann-1');
  const connecting = client.connect();
  assert.equal(client.connect() instanceof Promise, true, 'asked twice, connected once');
  const hello = await connecting;
  assert.equal(hello.user_id, 'user_ann');
  assert.equal(client.userId, 'user_ann');
  assert.equal(client.connected, true);
  assert.deepEqual(log.all('onConnectionChange'), ['connecting', 'connected']);
  client.disconnect();
  assert.equal(client.connected, false);
  assert.equal(await log.next('onConnectionChange', (s) => s === 'disconnected'), 'disconnected');
  assert.equal(peer.log.all('CONNECT').length, 1);
});

test('the clock learns the server\'s time, not the device\'s', limits, async (t) => {
  const peer = await startPeer(t);
  peer.clockAheadMs = 37_000;
  const { client } = clientOf(t, peer, 'ann-1');
  assert.equal(client.clock.ready, false);
  await client.connect();
  for (let i = 0; i < 5; i += 1) await peer.log.next('socket:ping');
  // The socket keeps its order: once this is answered, so are at least four of the pings.
  await client.requestSync().catch(() => {});
  assert.equal(client.clock.ready, true);
  const ahead = client.serverNow() - Date.now();
  assert.ok(Math.abs(ahead - 37_000) < 20, `${ahead} ms ahead`);
});

test('a token the server refuses is refreshed, and the fresh one connects', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  const { client, log } = clientOf(t, peer, { ...session, access_token: 'gone' });
  const hello = await client.connect();
  assert.equal(hello.user_id, 'user_ann');
  assert.deepEqual(peer.log.all('CONNECT'), ['gone', 'ann-2']);
  assert.equal((await log.next('onSession')).refresh_token, 'r2');
});

test('when the refresh is dead the session is gone, and nobody tries any more', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, { ...session, access_token: 'gone', refresh_token: 'dead' });
  await assert.rejects(client.connect(), { code: 'AUTH_REQUIRED' });
  assert.equal(await log.next('onSession'), null);
  assert.equal(await log.next('onConnectionChange', (s) => s === 'disconnected'), 'disconnected');
  assert.equal(peer.log.all('CONNECT').length, 1);
  await assert.rejects(client.connect(), { code: 'AUTH_REQUIRED' });
});

test('a session found dead over REST ends the connection too', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, session);
  await client.connect();
  peer.tokens.clear();
  await assert.rejects(client.me(), { status: 401 });
  assert.equal(await log.next('onSession'), null);
  assert.equal(client.connected, false);
});

test('an access token alone, refused, is the end as well', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, 'gone');
  await assert.rejects(client.connect(), { code: 'AUTH_REQUIRED' });
  assert.equal(await log.next('onSession'), null);
});

test('a server that refuses even fresh tokens is not asked for ever', limits, async (t) => {
  const peer = await startPeer(t);
  for (let i = 1; i < 9; i += 1) letRefresh(peer, `r${i}`, `ann-${i + 1}`, `r${i + 1}`);
  peer.gate = () => refusal('AUTH_REQUIRED');
  const { client } = clientOf(t, peer, session);
  await assert.rejects(client.connect(), { code: 'AUTH_REQUIRED' });
  assert.equal(peer.log.all('CONNECT').length, 4);
});

test('a server that is UNAVAILABLE is tried until it is back', limits, async (t) => {
  const peer = await startPeer(t);
  let refusals = 2;
  peer.gate = () => (refusals-- > 0 ? refusal('UNAVAILABLE') : null);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  assert.equal(peer.log.all('CONNECT').length, 3);
  assert.deepEqual(log.all('onConnectionChange'), ['connecting', 'connected']);
});

test('after a lost connection it comes back, joins its room again and tells the state', limits, async (t) => {
  const peer = await startPeer(t);
  const room = addRoom(peer);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  await client.joinRoom('room_one');
  await log.next('onRoomStateChange');
  room.version = 8;
  room.current_song = { title: 'Changed meanwhile' };

  for (const socket of (await peer.sockets()).values()) socket.conn.close();
  await log.next('onConnectionChange', (s) => s === 'reconnecting');
  assert.equal(client.roomId, 'room_one', 'still our room');
  const state = await log.next('onRoomStateChange');
  assert.equal(state.version, 8);
  assert.equal(state.current_song.title, 'Changed meanwhile');
  assert.equal(state.is_host, true);
  assert.equal(client.connected, true);
});

test('it comes back after the server has disconnected it, too', limits, async (t) => {
  const peer = await startPeer(t);
  addRoom(peer);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  await client.joinRoom('room_one');
  await log.next('onRoomJoined');
  for (const socket of (await peer.sockets()).values()) socket.disconnect();
  await log.next('onRoomJoined');
  assert.equal(client.connected, true);
});

test('it reconnects with the token that was refreshed meanwhile', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  const { client, log } = clientOf(t, peer, session);
  await client.connect();
  peer.tokens.delete('ann-1');
  await client.me();
  const { token } = await peer.log.next('socket:authenticate');
  assert.equal(token, 'ann-2', 'the live socket gets it');
  for (const socket of (await peer.sockets()).values()) socket.disconnect();
  await log.next('onConnectionChange', (s) => s === 'reconnecting');
  await log.next('onConnectionChange', (s) => s === 'connected' && client.connected);
  await peer.log.next('CONNECT', (token_) => token_ === 'ann-2');
  assert.deepEqual(peer.log.all('CONNECT').filter((token_) => token_ !== 'ann-1'), []);
});

test('the token is renewed before it runs out, and the live socket told', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  peer.expiresInMs = 500;
  const { client, log } = clientOf(t, peer, session);
  await client.connect();
  assert.equal((await peer.log.next('socket:authenticate')).token, 'ann-2');
  assert.equal((await log.next('onSession')).access_token, 'ann-2');
  assert.equal(client.connected, true);
});

test('told that its token has run out, it sends a fresh one', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  const { client, log } = clientOf(t, peer, session);
  await client.connect();
  peer.io.emit('error', { code: 'AUTH_REQUIRED', message: 'the token has run out' });
  assert.equal((await peer.log.next('socket:authenticate')).token, 'ann-2');
  assert.deepEqual(log.all('onError'), []);
});

test('after logging out, a server that closes the socket is no reason to come back', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, session);
  await client.connect();
  let stillUp;
  peer.routes['POST /api/v1/auth/logout'] = async () => {
    stillUp = client.connected;
    peer.io.disconnectSockets();
    return [204];
  };
  await client.logout();
  assert.equal(stillUp, false, 'however long the server takes to answer');
  assert.equal((await peer.log.next('POST /api/v1/auth/logout')).body.refresh_token, 'r1');
  assert.equal(await log.next('onSession'), null);
  assert.equal(client.connected, false);
  assert.equal(peer.log.all('CONNECT').length, 1);
  await assert.rejects(client.connect(), { code: 'AUTH_REQUIRED' });
});

test('a room that may not be joined again is left', limits, async (t) => {
  const peer = await startPeer(t);
  addRoom(peer);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  await client.joinRoom('room_one');
  peer.rooms.delete('room_one');
  for (const socket of (await peer.sockets()).values()) socket.conn.close();
  const left = await log.next('onRoomLeft');
  assert.equal(left.reason, 'rejoin_failed');
  assert.equal(left.code, 'JOIN_FAILED');
  assert.equal(client.roomId, null);
});

test('a rejoin that fails for the moment is tried again', limits, async (t) => {
  const peer = await startPeer(t);
  addRoom(peer);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  await client.joinRoom('room_one');
  await log.next('onRoomJoined');
  const join = peer.handlers.join_room;
  let refusals = 1;
  peer.handlers.join_room = (socket, payload, ack) => {
    if (refusals-- > 0) ack({ ok: false, error: { code: 'UNAVAILABLE', message: 'later' } });
    else join(socket, payload, ack);
  };
  for (const socket of (await peer.sockets()).values()) socket.conn.close();
  await log.next('onRoomJoined');
  assert.equal(client.roomId, 'room_one');
});

test('with autoRejoin off it comes back to no room', limits, async (t) => {
  const peer = await startPeer(t);
  addRoom(peer);
  const { client, log } = clientOf(t, peer, 'ann-1', { autoRejoin: false });
  await client.connect();
  await client.joinRoom('room_one');
  for (const socket of (await peer.sockets()).values()) socket.conn.close();
  await log.next('onConnectionChange', (s) => s === 'reconnecting');
  await log.next('onConnectionChange', (s) => s === 'connected' && client.connected);
  assert.equal(client.roomId, null);
  await assert.rejects(client.requestSync(), { code: 'NOT_IN_ROOM' });
  assert.equal(peer.log.all('socket:join_room').length, 1);
});

test('without a connection a request is refused at once, and not sent later', limits, async (t) => {
  const peer = await startPeer(t);
  const { client } = clientOf(t, peer, 'ann-1');
  await assert.rejects(client.joinRoom('room_one'), { code: 'UNAVAILABLE' });
  await client.connect();
  await client.requestSync().catch(() => {});
  assert.equal(peer.log.all('socket:join_room').length, 0);
});

test('a request the server refuses rejects with its code', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, 'ann-1');
  await client.connect();
  const error = await client.joinRoom('room_none').catch((e) => e);
  assert.ok(error instanceof Error);
  assert.equal(error.code, 'JOIN_FAILED');
  assert.deepEqual(log.all('onError'), []);
});

/** A socket in the test's hand. */
function fakeSocket() {
  const listeners = new Map();
  const socket = {
    connected: false,
    emitted: [],
    on: (name, listener) => listeners.set(name, listener),
    emit: (event, payload, ack) => socket.emitted.push({ event, payload, ack }),
    connect: () => { socket.connects = (socket.connects ?? 0) + 1; },
    disconnect: () => {},
    say: (name, payload) => listeners.get(name)?.(payload),
  };
  socket.volatile = socket;
  return socket;
}

function fakeConnection(time, overrides = {}) {
  const socket = fakeSocket();
  const states = [];
  const connection = new Connection({
    time, random: () => 0.5, openSocket: async () => socket,
    tokens: { token: async () => 'a1', refresh: async () => 'a2' },
    onEvent() {}, onUp() {}, onDown() {}, onState: (state) => states.push(state), ...overrides,
  });
  return { socket, states, connection };
}

test('who has too many connections is told so, and tries again when that may help', async () => {
  const time = new FakeTime();
  const told = [];
  const { socket, connection } = fakeConnection(time, { onRefused: ({ code, message }) => told.push({ code, message }) });
  let tries = 0;
  socket.connect = () => (tries += 1);
  const opened = connection.open();
  await settled();
  const refused = Object.assign(new Error('you have 20 connections'), { data: { code: 'RATE_LIMITED' } });
  await Promise.all([
    assert.rejects(opened, { code: 'RATE_LIMITED', message: 'you have 20 connections' }),
    (async () => socket.say('connect_error', refused))(),
  ]);
  time.advance(9_000);
  await settled();
  assert.equal(tries, 1);
  time.advance(1_000);
  await settled();
  assert.equal(tries, 2);
  socket.say('connect_error', refused);
  assert.deepEqual(told, [{ code: 'RATE_LIMITED', message: 'you have 20 connections' }]);
  connection.close('done');
});

test('why a page is refused is asked, told once for each reason, and forgotten with the connection', async () => {
  const time = new FakeTime();
  const told = [];
  let refusal = new SocketError('FORBIDDEN', 'not this page');
  const { socket, states, connection } = fakeConnection(time, {
    whyRefused: async () => refusal, onRefused: ({ message }) => told.push(message),
  });
  const opened = connection.open();
  const fails = async () => {
    socket.say('connect_error', new Error('websocket error'));
    await settled();
    time.advance(5_000);
    await settled();
  };
  await settled();
  await Promise.all([assert.rejects(opened, { code: 'FORBIDDEN', message: 'not this page' }), fails()]);
  await fails();
  refusal = new SocketError('FORBIDDEN', 'nor that one');
  await fails();
  assert.deepEqual(told, ['not this page', 'nor that one']);

  // It goes on trying, and what the server says itself is no such thing.
  socket.say('connect_error', Object.assign(new Error('busy'), { data: { code: 'UNAVAILABLE' } }));
  await settled();
  time.advance(5_000);
  await settled();
  socket.say('connected', { user_id: 'user_ann' });
  assert.deepEqual(states, ['connecting', 'connected']);
  socket.say('disconnect', 'transport close');
  await settled();
  time.advance(5_000);
  await fails();
  assert.deepEqual(told, ['not this page', 'nor that one', 'nor that one']);
  connection.close('done');
});

test('a request nobody answers is given up after its deadline; a late answer is ignored', async () => {
  const time = new FakeTime();
  const { socket, connection } = fakeConnection(time);
  const opened = connection.open();
  await settled();
  socket.say('connected', { user_id: 'user_ann' });
  await opened;
  const asked = connection.request('join_room', {});
  time.advance(9_999);
  let over = false;
  asked.catch(() => { over = true; });
  await settled();
  assert.equal(over, false);
  time.advance(1);
  await assert.rejects(asked, { code: 'UNAVAILABLE' });
  socket.emitted.at(-1).ack({ ok: true });
  assert.equal(time.pending, 0);
});

test('a request whose connection breaks is rejected at once', async () => {
  const time = new FakeTime();
  const { socket, connection, states } = fakeConnection(time);
  const opened = connection.open();
  await settled();
  socket.say('connected', {});
  await opened;
  const asked = connection.request('join_room', {});
  socket.say('disconnect', 'transport close');
  await assert.rejects(asked, { code: 'UNAVAILABLE' });
  assert.deepEqual(states, ['connecting', 'connected', 'reconnecting']);
});

test('an attempt that leads nowhere is given up, and the pauses grow to their limit', async () => {
  const time = new FakeTime();
  const { socket, connection } = fakeConnection(time);
  const gaveUp = assert.rejects(connection.open(), { code: 'UNAVAILABLE' });
  const pauses = [];
  for (let i = 0; i < 7; i += 1) {
    await settled();
    const before = socket.connects;
    time.advance(15_000);
    const from = time.now();
    while (socket.connects === before && time.now() - from < 20_000) {
      time.advance(100);
      await settled();
    }
    pauses.push(time.now() - from);
  }
  await gaveUp;
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 5000, 5000, 5000]);
});

test('a server that lets in and throws out is not asked twice a second', async () => {
  const time = new FakeTime();
  const { socket, connection } = fakeConnection(time);
  const opened = connection.open();
  for (let i = 0; i < 4; i += 1) {
    await settled();
    socket.say('connected', {});
    socket.say('disconnect', 'io server disconnect');
    time.advance(500 * 2 ** i - 1);
    await settled();
    assert.equal(socket.connects, i + 1, 'not before its pause is over');
    time.advance(1);
  }
  await opened;
  await settled();
  assert.equal(socket.connects, 5);
  socket.say('connected', {});
  time.advance(60_000);
  socket.say('disconnect', 'transport close');
  time.advance(500);
  await settled();
  assert.equal(socket.connects, 6, 'after a good connection the first pause is short again');
});

test('when the page wakes it does not sit out the wait, and looks at the clock again', async (t) => {
  const time = new FakeTime();
  const socket = fakeSocket();
  let wake;
  let watching = false;
  const watchWake = (run) => {
    wake = run;
    watching = true;
    return () => { watching = false; };
  };
  const { client } = clientOf(t, { url: 'http://host.invalid' }, 'ann-1', { time, watchWake, io: () => socket });
  const connecting = client.connect();
  await settled();
  wake();
  await settled();
  assert.equal(socket.connects, 1, 'an attempt under way is left alone');
  socket.say('connect_error', refusal('UNAVAILABLE'));
  wake();
  await settled();
  assert.equal(socket.connects, 2);

  socket.say('connected', { user_id: 'user_ann' });
  await connecting;
  time.advance(120_000);
  const pings = () => socket.emitted.filter((e) => e.event === 'ping').length;
  const before = pings();
  wake();
  time.advance(1500);
  assert.ok(pings() - before >= 10, `${pings() - before} probes`);
  client.disconnect();
  assert.equal(watching, false);
  assert.equal(time.pending, 0);
});

test('refresh answering 429 is asked again no sooner than it said', async () => {
  const time = new FakeTime();
  let asked = 0;
  const { socket, connection } = fakeConnection(time, {
    tokens: {
      token: async () => 'a1',
      refresh: async () => {
        asked += 1;
        throw Object.assign(new Error('slow down'), { code: 'RATE_LIMITED', retryAfter: 12 });
      },
    },
  });
  const opened = connection.open().catch(() => {});
  await settled();
  socket.say('connect_error', { message: 'no', data: { code: 'AUTH_REQUIRED' } });
  await settled();
  time.advance(11_900);
  await settled();
  assert.equal(asked, 1);
  time.advance(200);
  await settled();
  assert.equal(asked, 2);
  connection.close('test over');
  await opened;
});

test('in Node without socket.io-client the error says what to do', async (t) => {
  const fromStatic = createRequire(new URL('../../static/platform.js', import.meta.url));
  try {
    fromStatic.resolve('socket.io-client');
    return t.skip('it is installed where static/ finds it');
  } catch {
    // As it should be: static/ has no node_modules.
  }
  await assert.rejects(loadIo(), /npm i socket\.io-client.*options\.io/);
  const client = new FriendRoomClient('http://127.0.0.1:1', 'ann-1');
  await assert.rejects(client.connect(), /npm i socket\.io-client/);
});
