// A Socket.IO connection by itself: how it begins, what it survives, and what ends it.

import assert from 'node:assert/strict';
import { Manager } from 'socket.io-client';
import { api, cast, connect, connectError, createRoom } from '../support/api.mjs';
import { has, isAccepted, isNow, isRefused, isTime } from '../support/expect.mjs';
import { playing, scene, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, stories, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });
const restless = await serve({ env: { ...unlimited, SOCKET_PING_INTERVAL: '300ms', SOCKET_CONNECT_TIMEOUT: '1s' } });
const [ann, ben] = await cast(url, 'ann', 'ben');

const CODES = new Set([
  'AUTH_REQUIRED',
  'INVALID_REQUEST',
  'JOIN_FAILED',
  'UPDATE_FAILED',
  'NOT_IN_ROOM',
  'RATE_LIMITED',
  'NOT_FOUND',
  'UNAVAILABLE',
  'INTERNAL',
]);

overBothTransports('connecting', (transport) => {
  const transports = [transport];

  story('the first event is `connected`', async () => {
    const connection = await connect(ann, { transports });
    assert.equal(connection.log[0].event, 'connected');
    const { user_id, timestamp, expires_at } = connection.connected;
    assert.equal(user_id, ann.user_id);
    isNow(timestamp);
    isTime(expires_at, 'expires_at');
    const claims = JSON.parse(Buffer.from(ann.token.split('.')[1], 'base64url').toString());
    assert.equal(Date.parse(expires_at), claims.exp * 1000);
  });

  story('the token may come as ?token=', async () => {
    const connection = await connect(ann, { transports, auth: {}, query: { token: ann.token } });
    assert.equal(connection.connected.user_id, ann.user_id);
  });

  story('without a good token, connecting is refused with a message and a code', async () => {
    const cases = [{ auth: {} }, { auth: { token: 'a.b.c' } }, { auth: { token: 5 } }, { auth: { token: null } }, { auth: {}, query: { token: 'a.b.c' } }];
    for (const options of cases) {
      const error = await connectError(ann, { transports, .../** @type {{}} */ (options) });
      assert.ok(error.message.length > 0);
      assert.deepEqual(error.data, { code: 'AUTH_REQUIRED' }, JSON.stringify(options));
    }
  });

  story('events sent right behind the CONNECT answer are not lost, and keep their order', async () => {
    const room = await createRoom(ann);
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const connection = await connect(ann, {
          transports,
          // Kept by the client, and sent in the very moment it reads the answer.
          first: ({ socket }) => {
            socket.emit('join_room', { room_id: room.room_id });
            socket.emit('request_sync', {});
            socket.emit('leave_room_socket', {});
          },
        });
        await connection.next('room_left');
        const mine = connection.log.map(({ event }) => event);
        assert.deepEqual(mine, ['connected', 'room_joined', 'state_synced', 'room_left']);
      }),
    );
  });

  story('a ping is answered with the time, and with what it brought', async () => {
    const connection = await connect(ann, { transports });
    const before = Date.now();
    const ack = await connection.emit('ping', { client_time_ms: 1234.5 });
    const pong = await connection.next('pong');
    isAccepted(ack, pong);
    isNow(pong.timestamp);
    has(pong, { received_ms: 'number', sent_ms: 'number' });
    assert.equal(pong.client_time_ms, 1234.5);
    assert.ok(pong.received_ms <= pong.sent_ms);
    assert.ok(pong.received_ms >= before - 5 && pong.sent_ms <= Date.now() + 5, `${before} ${JSON.stringify(pong)}`);
    assert.ok(Math.abs(Date.parse(pong.timestamp) - pong.sent_ms) < 100);
  });

  story('a ping may carry anything, or nothing', async () => {
    const connection = await connect(ann, { transports });
    for (const payload of [[], [null], [5], ['text'], [[1, 2]], [{}], [{ client_time_ms: 'soon' }], [{ client_time_ms: 1e300 }], [1, 2, 3]]) {
      connection.send('ping', ...payload);
      has(await connection.next('pong'), { timestamp: 'string', received_ms: 'number', sent_ms: 'number' });
    }
    assert.deepEqual(await connection.fence(), []);
  });

  story('an event nobody defined is refused, to the callback or as an error', async () => {
    const connection = await connect(ann, { transports });
    for (const event of ['no_such_event', 'join', 'constructor', '__proto__', 'connected', 'room_joined', '', 'x'.repeat(500), 'Join_Room']) {
      isRefused(await connection.emit(event, {}), 'INVALID_REQUEST');
      connection.send(event, {});
      const error = await connection.next('error');
      has(error, { message: 'string', code: 'string' });
      assert.equal(error.code, 'INVALID_REQUEST');
    }
    assert.deepEqual(await connection.fence(), [], 'an acknowledged failure is no event as well');
  });

  story('a failure goes to the caller alone, and only once', async () => {
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    isRefused(await guest.emit('sync_state', { playback_state: playing() }), 'UPDATE_FAILED');
    assert.deepEqual(await guest.fence(), [], 'with a callback, no event');
    guest.send('sync_state', { room_id: room.room_id, playback_state: playing() });
    const { payload, before } = await guest.until('error');
    has(payload, { message: 'string' });
    assert.equal(payload.code, 'UPDATE_FAILED');
    assert.deepEqual(before, []);
    assert.deepEqual(await guest.fence(), []);
    assert.deepEqual(await host.fence(), []);
  });

  story('payloads that make no sense are answered, and the connection lives', async () => {
    const connection = await connect(ann, { transports });
    /** @type {unknown} */
    let nested = 'deep';
    for (let depth = 0; depth < 400; depth++) nested = depth % 2 ? { room_id: nested } : [nested];
    const payloads = [
      [],
      [null],
      [5],
      [-1.5e300],
      ['text'],
      [true],
      [[]],
      [[[[]]]],
      [{ room_id: 5 }],
      [{ room_id: null }],
      [{ room_id: {} }],
      [{ room_id: [] }],
      [{ room_id: '' }],
      [{ room_id: 'x'.repeat(5000) }],
      [{ room_id: 'room_\u0000' }],
      [nested],
      [{ room_id: nested }],
      [Buffer.from('binary')],
      [{ room_id: Buffer.from('binary') }],
      [{}, {}, {}],
      [null, { room_id: 'second' }],
    ];
    for (const event of ['join_room', 'leave_room_socket', 'sync_state', 'request_sync', 'transfer_host', 'authenticate', 'no_such_event']) {
      for (const payload of payloads) {
        const ack = await connection.emit(event, ...payload);
        assert.equal(ack?.ok, false, `${event} ${JSON.stringify(payload).slice(0, 80)}: ${JSON.stringify(ack)}`);
        assert.ok(CODES.has(ack.error.code), ack.error.code);
        assert.notEqual(ack.error.code, 'INTERNAL', `${event} ${JSON.stringify(payload).slice(0, 80)}`);
        assert.equal(typeof ack.error.message, 'string');
      }
    }
    for (const payload of [[], [null], [5], ['text'], [[]], [nested], [Buffer.from('binary')]]) {
      for (const event of ['join_room', 'sync_state', 'transfer_host', 'authenticate']) {
        isRefused(await connection.emit(event, ...payload), 'INVALID_REQUEST');
      }
    }
    assert.deepEqual(await connection.fence(), []);
    const { room_id } = await createRoom(ann);
    isAccepted(await connection.emit('join_room', { room_id }), await connection.next('room_joined'));
  });

  story('a message beyond the limit closes its connection, and no other', async () => {
    const { connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    // Below the limit it is a song that is too large; beyond it, it is not read at all.
    const song = (/** @type {number} */ size) => ({ playback_state: playing(), current_song: { ...SONG, notes: 'x'.repeat(size) } });
    isRefused(await host.emit('sync_state', song(60_000)), 'INVALID_REQUEST');
    host.send('sync_state', song(70_000));
    assert.equal(typeof (await host.closed), 'string');
    assert.deepEqual(await guest.fence(), []);
    assert.equal(guest.socket.connected, true);
  });

  story('what is not Socket.IO harms nobody else', async () => {
    const bystander = await connect(ben, { transports });
    for (const garbage of ['9', '2["join_room"', '45-', '2not json', '3999999999999["x"]', '2/other,["join_room"]', '\u0000\u0001']) {
      const connection = await connect(ann, { transports });
      // Past the encoder, straight into the transport.
      connection.socket.io.engine.write(garbage);
      connection.send('ping', {});
      assert.deepEqual(await bystander.fence(), []);
      connection.close();
    }
    assert.equal((await connect(ann, { transports })).connected.user_id, ann.user_id);
  });

  story('a connection outlives the heartbeats', async () => {
    const [cat] = await cast(restless.url, 'cat');
    const connection = await connect(cat, { transports });
    const { engine } = connection.socket.io;
    for (let beats = 0; beats < 4; beats++) await new Promise((resolve) => engine.once('ping', () => resolve(undefined)));
    assert.equal(connection.socket.connected, true);
    assert.deepEqual(await connection.fence(), []);
  });
});

stories('the transport', () => {
  story('a connection that begins with polling becomes a WebSocket, and loses nothing on the way', async () => {
    let sent = 0;
    const connection = await connect(ann, {
      transports: ['polling', 'websocket'],
      first: ({ socket }) => {
        for (; sent < 10; sent++) socket.emit('ping', { client_time_ms: sent });
      },
    });
    const { engine } = connection.socket.io;
    // Something is under way in both directions while the transports change, and a little after.
    for (let after = 0; after < 5; sent++) {
      if (engine.transport.name === 'websocket') after += 1;
      isAccepted(await connection.emit('ping', { client_time_ms: sent }));
    }
    assert.equal(engine.transport.name, 'websocket');
    const pongs = connection.log.filter(({ event }) => event === 'pong').map(({ payload }) => payload.client_time_ms);
    assert.deepEqual(pongs, Array.from({ length: sent }, (_, i) => i));
  });

  story('the handshake tells the intervals and the limit of section 5', async () => {
    const answer = await api(url)('GET', '/socket.io/?EIO=4&transport=polling');
    assert.equal(answer.status, 200, answer.text);
    const handshake = JSON.parse(answer.text.slice(1));
    assert.equal(handshake.pingInterval, 25_000);
    assert.equal(handshake.pingTimeout, 20_000);
    assert.equal(handshake.maxPayload, 64 * 1024);
    assert.deepEqual(handshake.upgrades, ['websocket']);
  });

  story('nobody learns the session id of somebody else', async () => {
    const { connections } = await scene('websocket', ann, ben);
    const [host, guest] = connections;
    isAccepted(await host.emit('sync_state', { playback_state: playing(), current_song: SONG }));
    await guest.next('state_synced');
    const secret = /** @type {any} */ (host.socket.io.engine).id;
    for (const known of [guest.log, (await ben.get('/api/v1/rooms')).body]) {
      const text = JSON.stringify(known);
      assert.ok(!text.includes(secret) && !text.includes(/** @type {string} */ (host.socket.id)), text);
    }
  });

  story('a connection that never says CONNECT is closed', async () => {
    const manager = new Manager(restless.url, { transports: ['websocket'], reconnection: false, autoConnect: false });
    const closed = new Promise((resolve) => manager.once('close', resolve));
    await new Promise((resolve, reject) => manager.open((error) => (error ? reject(error) : resolve(undefined))));
    assert.equal(typeof (await closed), 'string');
  });

  story('an Engine.IO version or transport nobody speaks is refused', async () => {
    for (const query of ['EIO=3&transport=polling', 'EIO=4&transport=carrier-pigeon', 'transport=polling', 'EIO=4&transport=polling&sid=unknown']) {
      const answer = await api(url)('GET', `/socket.io/?${query}`);
      assert.equal(answer.status, 400, `${query}: ${answer.text}`);
    }
  });
});
