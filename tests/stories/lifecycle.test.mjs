// The program itself: its settings, its start, its end, and what is still there afterwards.

import assert from 'node:assert/strict';
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after } from 'node:test';
import { api, befriend, cast, closeConnections, connect, connectError, createFriendsRoom, createRoom, login, register } from '../support/api.mjs';
import { isAccepted, isProblem, isRefused, isRoomJoined } from '../support/expect.mjs';
import { arrive, enter, playing, SONG } from '../support/scene.mjs';
import { freePort, runTutti, startTutti, temporaryFolder, unlimited } from '../support/server.mjs';
import { stories, story } from '../support/story.mjs';

// What is still connected would keep this process alive.
after(closeConnections);

/** @typedef {import('../support/server.mjs').Tutti} Tutti */

/** Section 5, and the limits of section 3. */
const VARIABLES = [
  'DATABASE_URL',
  'REDIS_URL',
  'ALLOWED_ORIGINS',
  'PUBLIC_URL',
  'CONNECTIONS_PER_ADDRESS',
  'HTTP_ADDR',
  'AUTH_GRPC_ADDR',
  'ROOM_GRPC_ADDR',
  'AUTH_URL',
  'ROOM_URL',
  'ADMIN_ADDR',
  'TUTTI_DATA_DIR',
  'JWT_PRIVATE_KEY_FILE',
  'ACCESS_TOKEN_TTL',
  'REFRESH_TOKEN_TTL',
  'SOCKET_PING_INTERVAL',
  'SOCKET_PING_TIMEOUT',
  'SOCKET_CONNECT_TIMEOUT',
  'SOCKET_MAX_PAYLOAD',
  'TRUSTED_PROXIES',
  'PROXY_NETWORKS',
  'PRESENCE_GRACE',
  'ROOM_EMPTY_GRACE',
  'DRAIN_TIME',
  'FRIEND_REQUEST_COOLDOWN',
  'CLEANUP_INTERVAL',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'RUST_LOG',
  'LOG_FORMAT',
  'SERVICE_KEYS',
  ...Object.keys(unlimited),
];

/** Some of the defaults, in the words of the contract. */
const DEFAULTS = ['127.0.0.1:9090', './tutti-data', '15m', '30d', '25s', '20s', '10s', '64KiB', '15s', '60s', '24h', '1h', 'info'];

/**
 * A server of its own, ended whatever becomes of the story.
 * @param {import('node:test').TestContext} t
 * @param {Record<string, string | undefined>} [env]
 * @param {Omit<NonNullable<Parameters<typeof startTutti>[0]>, 'env'>} [more]
 */
async function own(t, env = {}, more = {}) {
  const tutti = await startTutti({ env: { ...unlimited, ...env }, ...more });
  t.after(() => tutti.stop());
  return tutti;
}

/** Where a song is at `now`, by what a state says. @param {any} playback @param {number} now */
const positionAt = (playback, now) =>
  playback.playing ? playback.position + ((now - Date.parse(playback.timestamp)) / 1000) * playback.rate : playback.position;

stories('settings', () => {
  story('--help lists every one of them, with its default', async () => {
    const { code, stdout } = await runTutti(['--help']);
    assert.equal(code, 0);
    const missing = VARIABLES.filter((name) => !new RegExp(`\\b${name}\\b`).test(stdout));
    assert.deepEqual(missing, []);
    assert.deepEqual(DEFAULTS.filter((value) => !stdout.includes(value)), []);
  });

  story('what is wrong is all reported at once, with status 64', async () => {
    const wrong = {
      HTTP_ADDR: 'nowhere',
      PRESENCE_GRACE: 'soon',
      RATE_API_PER_MINUTE: '-1',
      SOCKET_MAX_PAYLOAD: 'large',
      TRUSTED_PROXIES: 'all',
      PROXY_NETWORKS: 'proxy.example',
      CONNECTIONS_PER_ADDRESS: 'few',
      PUBLIC_URL: 'https://music.example/tutti',
      DATABASE_URL: 'mysql://localhost/tutti',
      ALLOWED_ORIGINS: 'not an origin',
      LOG_FORMAT: 'rhyme',
    };
    const { code, stderr, stdout } = await runTutti([], wrong);
    assert.equal(code, 64, stderr);
    assert.deepEqual(Object.keys(wrong).filter((name) => !stderr.includes(name)), [], stderr);
    assert.equal(stdout, '', 'it did not begin to serve');
  });

  story('one wrong setting is enough, and a wrong flag is one', async () => {
    const one = await runTutti([], { ACCESS_TOKEN_TTL: '15 bananas' });
    assert.equal(one.code, 64, one.stderr);
    assert.match(one.stderr, /ACCESS_TOKEN_TTL/);
    const other = await runTutti(['--http-addr', 'nowhere']);
    assert.equal(other.code, 64, other.stderr);
    assert.match(other.stderr, /http-addr|HTTP_ADDR/);
  });

  story('a secret in a wrong setting is not repeated', async () => {
    const { code, stderr, stdout } = await runTutti([], { DATABASE_URL: 'mysql://tutti:hunter22@localhost/tutti' });
    assert.equal(code, 64);
    assert.ok(!`${stdout}${stderr}`.includes('hunter22'), stderr);
  });

  story('a flag goes before the environment', async (t) => {
    const port = await freePort();
    const tutti = await own(t, { HTTP_ADDR: '127.0.0.1:1' }, { args: ['--http-addr', `127.0.0.1:${port}`] });
    assert.equal(tutti.url, `http://127.0.0.1:${port}`);
    assert.equal((await api(tutti.url)('GET', '/healthz')).status, 200);
  });
});

stories('starting', () => {
  story('it says where to look when it can serve, not before', async (t) => {
    const tutti = await own(t);
    const answer = await api(tutti.url)('GET', '/readyz');
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await api(tutti.url)('GET', '/healthz')).status, 200);
  });

  story('health and metrics are served for operators as well', async (t) => {
    const port = await freePort();
    await own(t, { ADMIN_ADDR: `127.0.0.1:${port}` });
    const call = api(`http://127.0.0.1:${port}`);
    assert.equal((await call('GET', '/healthz')).status, 200);
    assert.equal((await call('GET', '/readyz')).status, 200);
    const metrics = await call('GET', '/metrics');
    assert.equal(metrics.status, 200);
    assert.match(metrics.text, /^# TYPE \w+ /m);
  });

  story('an address that is taken ends it, by name', async (t) => {
    const taken = createServer();
    await new Promise((resolve) => taken.listen(0, '127.0.0.1', () => resolve(undefined)));
    t.after(() => taken.close());
    const { port } = /** @type {import('node:net').AddressInfo} */ (taken.address());
    const { code, stderr, stdout } = await runTutti([], { HTTP_ADDR: `127.0.0.1:${port}` });
    assert.ok(code !== 0 && code !== null, 'a status that says so');
    assert.match(`${stdout}${stderr}`, new RegExp(`127\\.0\\.0\\.1:${port}`));
  });

  story('what it keeps is for its user alone, also where it was not before', async (t) => {
    const dataDir = join(temporaryFolder(), 'data');
    const tutti = await own(t, {}, { dataDir });
    await register(tutti.url, 'ann');
    const all = () => [dataDir, ...readdirSync(dataDir, { recursive: true }).map((name) => join(dataDir, String(name)))];
    const modes = () => Object.fromEntries(all().map((path) => [path, (statSync(path).mode & 0o777).toString(8)]));
    const isPrivate = (/** @type {string} */ when) => {
      for (const [path, mode] of Object.entries(modes())) assert.equal(mode, path === dataDir ? '700' : '600', `${path}, ${when}`);
    };
    isPrivate('from the beginning');
    assert.ok(all().some((path) => path.endsWith('.pem')) && all().some((path) => path.endsWith('-wal')), `${all()}`);
    await tutti.kill();
    for (const path of all()) chmodSync(path, path === dataDir ? 0o755 : 0o644);
    const others = join(dataDir, 'notes.txt');
    writeFileSync(others, 'somebody else put this here', { mode: 0o644 });
    await tutti.restart();
    assert.equal(modes()[others], '644', 'what is not its own is left alone');
    chmodSync(others, 0o600);
    isPrivate('again');
    assert.equal(tutti.stderr().match(/cannot read these any more/g)?.length, 1);
  });
});

stories('ending', () => {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    story(`${signal} ends it in order in under 5 s, whoever is connected`, async (t) => {
      const tutti = await own(t);
      const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
      const room = await createRoom(ann);
      const host = await enter(ann, room, 'websocket');
      const guest = await arrive(ben, room, [host], 'polling');
      const { code, ms } = await tutti.stop(signal);
      assert.equal(code, 0);
      assert.ok(ms < 5000, `${ms} ms`);
      assert.equal(typeof (await host.closed), 'string');
      assert.equal(typeof (await guest.closed), 'string');
    });
  }
});

stories('letting go', () => {
  story('it is not ready, takes nobody new, serves those who are there and lets them go a few at a time', async (t) => {
    const tutti = await own(t, { DRAIN_TIME: '3s' });
    const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const host = await enter(ann, room);
    const crowd = [host];
    for (let i = 0; i < 30; i++) crowd.push(await enter(ben, room, i % 3 ? 'websocket' : 'polling'));
    let ended = false;
    const over = tutti.stop('SIGTERM').finally(() => (ended = true));

    await Promise.race(crowd.map((connection) => connection.closed));
    const ready = await fetch(`${tutti.url}/readyz`);
    assert.equal(ready.status, 503);
    assert.match(await ready.text(), /its end/);
    isProblem(await api(tutti.url)('GET', '/socket.io/?EIO=4&transport=polling'), 503, 'UNAVAILABLE');
    assert.equal((await ben.get('/api/v1/auth/me')).status, 200, 'calls are answered to the end');
    const still = crowd.filter((connection) => connection.socket.connected);
    assert.ok(still.length > 0, 'they do not go all at once');
    await still[0].fence();
    assert.equal(ended, false);

    const reasons = await Promise.all(crowd.map((connection) => connection.closed));
    // After a server's own `disconnect` a client would stay away for ever.
    for (const reason of reasons) assert.match(reason, /^transport (close|error)$/);
    assert.equal((await over).code, 0);
  });

  story('whoever asks twice does not wait', async (t) => {
    const tutti = await own(t, { DRAIN_TIME: '1h' });
    const ann = await register(tutti.url, 'ann');
    const connections = [await connect(ann), await connect(ann)];
    const over = tutti.stop('SIGTERM');
    await Promise.race(connections.map((connection) => connection.closed));
    const { code } = await tutti.stop('SIGTERM');
    assert.equal(code, 0);
    await over;
  });
});

stories('starting again', () => {
  story('users, sessions, friendships, rooms, the song and its position are still there', async (t) => {
    const tutti = await own(t);
    const [ann, ben, cat] = await cast(tutti.url, 'ann', 'ben', 'cat');
    await befriend(ann, ben);
    const pending = await cat.post('/api/v1/friends/request', { username: ann.username });
    const room = await createFriendsRoom(ann);
    const host = await enter(ann, room);
    const guest = await arrive(ben, room, [host]);
    const paused = await createRoom(cat, { name: 'Paused' });
    const other = await enter(cat, paused);
    isAccepted(await other.emit('sync_state', { playback_state: { playing: false, position: 99.5 }, current_song: null }));
    const sent = Date.now();
    const ack = await host.emit('sync_state', {
      playback_state: playing({ position: 61.5, timestamp_ms: sent, rate: 1.25 }),
      current_song: SONG,
    });
    isAccepted(ack);
    const spent = cat.refresh_token;
    await cat.refresh();
    await cat.refresh();
    await tutti.restart();

    assert.equal((await ann.get('/api/v1/auth/me')).body.user_id, ann.user_id, 'the signing key is the same');
    await ann.refresh();
    assert.equal((await login(ben)).user_id, ben.user_id);
    const friends = (await ann.get('/api/v1/friends')).body.friends;
    assert.deepEqual(friends.map((/** @type {any} */ friend) => friend.user_id), [ben.user_id]);
    assert.deepEqual((await ann.get('/api/v1/friends/requests?type=received')).body.requests, [pending.body]);

    const seen = (await ben.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.equal(seen.host_id, ann.user_id);
    assert.deepEqual(seen.participants, [ann.user_id, ben.user_id]);
    assert.deepEqual(seen.current_song, SONG);
    const now = Date.now();
    const drift = positionAt(seen.playback_state, now) - (61.5 + ((now - sent) / 1000) * 1.25);
    assert.ok(Math.abs(drift) < 0.05, `${drift} s off`);
    const still = (await cat.get(`/api/v1/rooms/${paused.room_id}`)).body;
    assert.equal(still.playback_state.playing, false);
    assert.equal(still.playback_state.position, 99.5);
    assert.equal(still.name, 'Paused');

    // Everybody comes back to where they were, and the host goes on.
    const again = await enter(ann, room);
    const guestAgain = await enter(ben, room);
    const next = await again.emit('sync_state', { playback_state: playing({ position: 70 }) });
    isAccepted(next);
    assert.ok(next.version > ack.version, `${next.version} > ${ack.version}`);
    assert.equal((await guestAgain.next('state_synced')).version, next.version);
    assert.equal(typeof (await guest.closed), 'string');

    // What was dead stays dead.
    const call = api(tutti.url);
    isProblem(await call('POST', '/api/v1/auth/refresh', { body: { refresh_token: spent } }), 401, 'AUTH_REQUIRED');
    isProblem(await call('POST', '/api/v1/auth/refresh', { body: { refresh_token: cat.refresh_token } }), 401, 'AUTH_REQUIRED');
  });

  story('a session that had ended stays so, and its access token with it', async (t) => {
    const tutti = await own(t);
    const ann = await register(tutti.url, 'ann');
    const phone = await login(ann);
    assert.equal((await api(tutti.url)('POST', '/api/v1/auth/logout', { body: { refresh_token: ann.refresh_token } })).status, 204);
    await tutti.kill();
    await tutti.restart();
    isProblem(await ann.get('/api/v1/auth/me'), 401, 'AUTH_REQUIRED');
    assert.equal((await connectError(ann)).data?.code, 'AUTH_REQUIRED');
    const connection = await connect(phone);
    isRefused(await connection.emit('authenticate', { token: ann.token }), 'AUTH_REQUIRED');
    isAccepted(await connection.emit('authenticate', { token: phone.token }));
  });

  story('nothing that was acknowledged is lost when it is killed, and versions never go back', async (t) => {
    const tutti = await own(t);
    const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const host = await enter(ann, room);
    isAccepted(await host.emit('sync_state', { playback_state: playing({ position: 10 }), current_song: SONG }));
    // Nothing but the position changes from here on: it may be written later, its version may not be given again.
    let last = 0;
    const begin = Date.now();
    for (let i = 0; i < 20; i++) {
      const timestamp_ms = Date.now();
      const position = 10 + (timestamp_ms - begin) / 1000;
      last = (await host.emit('sync_state', { playback_state: playing({ position, timestamp_ms }) })).version;
    }
    await befriend(ann, ben);
    const form = { username: 'last-minute', email: 'last@example.org' };
    const late = await register(tutti.url, 'late', form);
    await tutti.kill();
    await tutti.restart();

    assert.equal((await login(late)).username, form.username);
    assert.equal((await ann.get('/api/v1/friends')).body.friends.length, 1);
    const again = await enter(ann, room);
    const seen = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body;
    assert.deepEqual(seen.current_song, SONG);
    assert.equal(seen.playback_state.playing, true);
    const now = Date.now();
    const drift = positionAt(seen.playback_state, now) - (10 + (now - begin) / 1000);
    assert.ok(Math.abs(drift) < 5, `${drift} s off`);
    const { version } = await again.emit('sync_state', { playback_state: playing({ position: 30 }) });
    assert.ok(version > last, `${version} > ${last}`);

    // And a pause is never lost: it is written before it is acknowledged.
    isAccepted(await again.emit('sync_state', { playback_state: { playing: false, position: 31 } }));
    await tutti.kill();
    await tutti.restart();
    const paused = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body.playback_state;
    assert.equal(paused.playing, false);
    assert.equal(paused.position, 31);
  });

  story('clients that reconnect by themselves are let in again', async (t) => {
    const tutti = await own(t);
    const ann = await register(tutti.url, 'ann');
    const room = await createRoom(ann);
    const host = await connect(ann);
    host.socket.io.reconnection(true);
    isAccepted(await host.emit('join_room', { room_id: room.room_id }));
    await host.next('room_joined');
    const lost = new Promise((resolve) => host.socket.once('disconnect', resolve));
    const back = new Promise((resolve) => host.socket.io.once('reconnect', resolve));
    await tutti.restart();
    // After a server's own `disconnect` the client would stay away for ever.
    assert.notEqual(await lost, 'io server disconnect');
    await back;
    const joined = await host.emit('join_room', { room_id: room.room_id });
    isAccepted(joined);
    const { ok: _, ...payload } = joined;
    isRoomJoined(payload);
    assert.equal(joined.is_host, true);
  });
});
