// Section 3: how much of what one may do, for how long one has to wait then, and who else has to.

import assert from 'node:assert/strict';
import { api, cast, connect, eventually, newcomer, register } from '../support/api.mjs';
import { isAccepted, isProblem, isRefused } from '../support/expect.mjs';
import { hangUpOnLogins, hashesIn } from '../support/hang-up.mjs';
import { enter, playing, scene } from '../support/scene.mjs';
import { freePort, startTutti, unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const limited = await serve({
  env: {
    ...unlimited,
    RATE_FRIEND_REQUESTS_PER_HOUR: '3',
    RATE_ROOM_CREATIONS_PER_HOUR: '2',
    // The defaults: 60 a minute, in bursts of 20.
    RATE_SOCKET_EVENTS_PER_MINUTE: undefined,
    RATE_SOCKET_PINGS_PER_MINUTE: undefined,
    RATE_LOGIN_FAILURES_PER_15_MINUTES: '3',
    TRUSTED_PROXIES: '1',
  },
});
const proxied = await serve({
  env: { ...unlimited, RATE_AUTH_PER_MINUTE: '3', RATE_API_PER_MINUTE: '5', TRUSTED_PROXIES: '1' },
});
const behindProxies = (/** @type {string} */ networks) =>
  serve({ env: { ...unlimited, RATE_AUTH_PER_MINUTE: '3', TRUSTED_PROXIES: '1', PROXY_NETWORKS: networks } });
/** Its proxies connect from elsewhere. */
const bypassed = await behindProxies('192.0.2.0/24,2001:db8::/32');
/** Its proxies connect from here. */
const listed = await behindProxies('192.0.2.0/24, 127.0.0.0/8');
const direct = await serve({ env: { ...unlimited, RATE_AUTH_PER_MINUTE: '3' } });
const free = await serve({ env: unlimited });

const BURST = 20;

/** @typedef {import('../support/api.mjs').User} User */
/** @typedef {import('../support/api.mjs').Answer} Answer */

/** Refused for going too fast, and told how long to wait. @param {Answer} answer @param {number} window in seconds */
function isTooMuch(answer, window) {
  isProblem(answer, 429, 'RATE_LIMITED');
  const wait = Number(answer.headers.get('retry-after'));
  assert.ok(wait >= 1 && wait <= window, `Retry-After: ${wait}`);
}

/** @param {User} user @param {string} username */
const request = (user, username) => user.post('/api/v1/friends/request', { username });

/** A refresh that fails: the cheapest of the calls that count by address. @param {string} url @param {string} [forwarded] */
function knock(url, forwarded) {
  return api(url)('POST', '/api/v1/auth/refresh', {
    body: { refresh_token: 'none' },
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
  });
}

stories('limits of REST', () => {
  story('friend requests are limited, and those refused count, except for 422', async () => {
    const [ann, ben, cat] = await cast(limited.url, 'ann', 'ben', 'cat');
    for (let i = 0; i < 4; i++) isProblem(await request(ann, ann.username), 422, 'INVALID_REQUEST');
    assert.equal((await request(ann, ben.username)).status, 201);
    isProblem(await request(ann, ben.username), 409, 'CONFLICT');
    isProblem(await request(ann, 'nobody-has-this'), 404, 'NOT_FOUND');
    isTooMuch(await request(ann, cat.username), 3600);
    isTooMuch(await ann.post('/api/v1/friends/request', { receiver_id: cat.user_id }), 3600);
    assert.equal((await request(cat, ben.username)).status, 201, 'others are not concerned');
    const received = (await cat.get('/api/v1/friends/requests?type=received')).body.requests;
    assert.deepEqual(received, [], 'nothing of the refused ones has happened');
  });

  story('rooms are limited, and those refused with 422 do not count', async () => {
    const [ann, ben] = await cast(limited.url, 'ann', 'ben');
    const create = (/** @type {User} */ user, name = 'Room') => user.post('/api/v1/rooms/create', { name });
    for (let i = 0; i < 3; i++) isProblem(await create(ann, ''), 422, 'INVALID_REQUEST');
    for (let i = 0; i < 2; i++) assert.equal((await create(ann)).status, 201);
    isTooMuch(await create(ann), 3600);
    assert.equal((await create(ben)).status, 201);
    assert.equal((await ann.get('/api/v1/rooms')).body.rooms.length, 2);
  });

  story('other calls are limited for each user', async () => {
    const ann = await register(proxied.url, 'ann', { headers: { 'x-forwarded-for': '198.51.100.1' } });
    const ben = await register(proxied.url, 'ben', { headers: { 'x-forwarded-for': '198.51.100.2' } });
    for (let i = 0; i < 5; i++) assert.equal((await ann.get('/api/v1/friends')).status, 200);
    isTooMuch(await ann.get('/api/v1/friends'), 60);
    isTooMuch(await ann.get('/api/v1/rooms'), 60);
    assert.equal((await ben.get('/api/v1/friends')).status, 200);
  });

  story('registering, logging in and refreshing are limited together, for each address', async () => {
    const headers = { 'x-forwarded-for': '203.0.113.7' };
    const call = api(proxied.url);
    const form = newcomer('ann');
    const registered = await call('POST', '/api/v1/auth/register', { body: form, headers });
    assert.equal(registered.status, 201);
    const login = { login: form.username, password: form.password };
    assert.equal((await call('POST', '/api/v1/auth/login', { body: login, headers })).status, 200);
    isProblem(await knock(proxied.url, '203.0.113.7'), 401, 'AUTH_REQUIRED');
    isTooMuch(await knock(proxied.url, '203.0.113.7'), 60);
    isTooMuch(await call('POST', '/api/v1/auth/login', { body: login, headers }), 60);
    isTooMuch(await call('POST', '/api/v1/auth/register', { body: newcomer(), headers }), 60);
    // Another address is free, and what a client claims before its proxy speaks does not count.
    assert.equal((await knock(proxied.url, '203.0.113.8')).status, 401);
    isTooMuch(await knock(proxied.url, '192.0.2.99, 203.0.113.7'), 60);
    assert.equal((await knock(proxied.url, '203.0.113.7, 203.0.113.9')).status, 401);
  });

  story('without a trusted proxy, nothing that a client claims is its address', async () => {
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await knock(direct.url, `203.0.113.${i}`)).status);
    assert.deepEqual(statuses, [401, 401, 401, 429]);
    isTooMuch(await knock(direct.url), 60);
  });

  story('past the proxies, nothing that a client claims is its address', async () => {
    for (let i = 0; i < 3; i++) isProblem(await knock(bypassed.url, `203.0.113.${i}`), 401, 'AUTH_REQUIRED');
    isTooMuch(await knock(bypassed.url, '203.0.113.9'), 60);
    // From an address that is listed, it does.
    for (let i = 0; i < 4; i++) isProblem(await knock(listed.url, `203.0.113.${i}`), 401, 'AUTH_REQUIRED');
  });

  story('wrong passwords are limited for each account and address', async () => {
    const ann = await register(limited.url, 'ann');
    const login = (/** @type {string} */ name, /** @type {string} */ password, /** @type {string} */ address) =>
      api(limited.url)('POST', '/api/v1/auth/login', {
        body: { login: name, password },
        headers: { 'x-forwarded-for': address },
      });
    // One account, whatever it is called by.
    for (const name of [ann.username, ann.email, ann.username.toUpperCase()]) {
      isProblem(await login(name, 'not her password', '203.0.113.1'), 401, 'AUTH_REQUIRED');
    }
    isTooMuch(await login(ann.username, 'not her password', '203.0.113.1'), 900);
    isTooMuch(await login(ann.email, ann.password, '203.0.113.1'), 900);
    assert.equal((await login(ann.username, ann.password, '203.0.113.2')).status, 200, 'nobody locks her out from afar');
    const ben = await register(limited.url, 'ben');
    assert.equal((await login(ben.username, ben.password, '203.0.113.1')).status, 200, 'and nobody else is concerned');
  });

  story('guesses from everywhere are limited, and delay nobody where they have been', async () => {
    const ann = await register(limited.url, 'ann');
    const login = (/** @type {string} */ name, /** @type {string} */ password, address = '') =>
      api(limited.url)('POST', '/api/v1/auth/login', {
        body: { login: name, password },
        headers: address ? { 'x-forwarded-for': address } : {},
      });
    // Twice as many as from one network, from each of eight groups of networks; of so many networks some are in each.
    let checked = 0;
    for (let n = 0; n < 250; n++) {
      const answer = await login(ann.username, 'not her password', `10.${n}.0.1`);
      if (answer.status === 401) checked++;
      else isTooMuch(answer, 3600);
    }
    assert.equal(checked, 8 * 6);
    isTooMuch(await login(ann.username, ann.password, '10.0.0.2'), 3600);
    assert.equal((await login(ann.username, ann.password)).status, 200, 'she is where she registered');
  });

  story('an IPv6 network is one address', async () => {
    for (let n = 1; n <= 3; n++) isProblem(await knock(proxied.url, `2001:db8:0:7:${n}::1`), 401, 'AUTH_REQUIRED');
    isTooMuch(await knock(proxied.url, '2001:db8:0:7:4::1'), 60);
    isProblem(await knock(proxied.url, '2001:db8:0:8::1'), 401, 'AUTH_REQUIRED');
  });

  story('a right password is no failure', async () => {
    const ann = await register(limited.url, 'ann');
    for (let i = 0; i < 5; i++) {
      const body = { login: ann.username, password: ann.password };
      assert.equal((await api(limited.url)('POST', '/api/v1/auth/login', { body })).status, 200);
    }
  });

  story('a login that nobody has is limited like one that somebody has', async () => {
    const login = () =>
      api(limited.url)('POST', '/api/v1/auth/login', { body: { login: 'nobody-has-this', password: 'not a password' } });
    for (let i = 0; i < 3; i++) isProblem(await login(), 401, 'AUTH_REQUIRED');
    isTooMuch(await login(), 900);
  });
});

stories('limits of a connection', () => {
  story('events come in bursts of at most 20 above the steady rate', async () => {
    const [ann] = await cast(limited.url, 'ann');
    const connection = await connect(ann);
    const begin = performance.now();
    const acks = await Promise.all(Array.from({ length: 45 }, () => connection.emit('request_sync', {})));
    const seconds = Math.ceil((performance.now() - begin) / 1000);
    // Not being in a room is no way around the limit: refused events count.
    const passed = acks.filter((ack) => ack.error.code === 'NOT_IN_ROOM').length;
    assert.ok(passed >= BURST && passed <= BURST + 1 + seconds, `${passed} of 45 in ${seconds} s`);
    for (const ack of acks.filter((each) => each.error.code !== 'NOT_IN_ROOM')) isRefused(ack, 'RATE_LIMITED');
    connection.send('request_sync', {});
    assert.equal((await connection.next('error')).code, 'RATE_LIMITED');
    isAccepted(await connection.emit('ping', {}));
  });

  story('pings have a budget of their own', async () => {
    const [ann] = await cast(limited.url, 'ann');
    const { connections } = await scene('websocket', ann);
    const [connection] = connections;
    const begin = performance.now();
    const acks = await Promise.all(Array.from({ length: 45 }, () => connection.emit('ping', {})));
    const seconds = Math.ceil((performance.now() - begin) / 1000);
    const passed = acks.filter((ack) => ack.ok).length;
    assert.ok(passed >= BURST && passed <= BURST + 1 + seconds, `${passed} of 45 in ${seconds} s`);
    for (const ack of acks.filter((each) => !each.ok)) isRefused(ack, 'RATE_LIMITED');
    isAccepted(await connection.emit('sync_state', { playback_state: playing() }));
  });

  story('one connection does not use up what another may do', async () => {
    const [ann] = await cast(limited.url, 'ann');
    const { room, connections } = await scene('websocket', ann);
    const [busy] = connections;
    const acks = await Promise.all(Array.from({ length: 40 }, () => busy.emit('request_sync', {})));
    isRefused(acks[acks.length - 1], 'RATE_LIMITED');
    const other = await enter(ann, room);
    isAccepted(await other.emit('request_sync', {}));
  });

  story('who has waited may go on', async () => {
    const [ann] = await cast(limited.url, 'ann');
    const { connections } = await scene('websocket', ann);
    const [connection] = connections;
    const acks = await Promise.all(Array.from({ length: 30 }, () => connection.emit('request_sync', {})));
    isRefused(acks[acks.length - 1], 'RATE_LIMITED');
    // Asked at the steady rate: refused events count, so haste would not help.
    await eventually(async () => (await connection.emit('request_sync', {})).ok, 'served again', { every: 1100 });
  });
});

// By itself: it takes all processors for a moment.
story('no password is hashed for a login that hangs up', async (t) => {
  const port = await freePort();
  const tutti = await startTutti({ env: { ...unlimited, ADMIN_ADDR: `127.0.0.1:${port}` } });
  t.after(() => tutti.stop());
  const ann = await register(tutti.url, 'ann');
  await hangUpOnLogins(tutti.url, 300);
  // She is the same client, and would come last.
  const body = { login: ann.username, password: ann.password };
  assert.equal((await api(tutti.url)('POST', '/api/v1/auth/login', { body })).status, 200);
  const hashed = hashesIn((await api(`http://127.0.0.1:${port}`)('GET', '/metrics')).text);
  assert.ok(hashed >= 3 && hashed <= 150, `${hashed} of 302`);
});

stories('a limit of 0', () => {
  story('is none', async () => {
    const [ann, ...others] = await cast(free.url, 'ann', ...Array.from({ length: 11 }, () => 'other'));
    for (const other of others) assert.equal((await request(ann, other.username)).status, 201);
    for (let i = 0; i < 6; i++) assert.equal((await ann.post('/api/v1/rooms/create', {})).status, 201);
    const refreshed = await Promise.all(Array.from({ length: 31 }, () => knock(free.url)));
    assert.deepEqual(new Set(refreshed.map(({ status }) => status)), new Set([401]));
    for (let i = 0; i < 11; i++) {
      const body = { login: ann.username, password: 'not her password' };
      assert.equal((await api(free.url)('POST', '/api/v1/auth/login', { body })).status, 401);
    }
    const { connections } = await scene('websocket', ann);
    const [connection] = connections;
    const acks = await Promise.all([
      ...Array.from({ length: 100 }, () => connection.emit('ping', {})),
      ...Array.from({ length: 100 }, () => connection.emit('sync_state', { playback_state: playing() })),
    ]);
    // A busy machine may not get through all of them in the time in which each has to be answered.
    assert.deepEqual(acks.filter((ack) => !ack.ok && ack.error.code !== 'UNAVAILABLE'), []);
  });
});
