// Access tokens, refresh tokens, and what happens when they run out, are stolen or are forged.

import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { api, befriend, cast, connect, connectError, createRoom, eventually, login, register } from '../support/api.mjs';
import { isAccepted, isProblem, isRefused, isSession, isTime } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, stories, story } from '../support/story.mjs';

// `trace` shows everything that could leak; a token must be missing from that as well.
const tutti = await serve({ env: { ...unlimited, RUST_LOG: 'trace' } });
const brief = await serve({ env: { ...unlimited, ACCESS_TOKEN_TTL: '2s' } });
const { url } = tutti;
const call = api(url);

/** @param {unknown} refresh_token */
const refresh = (refresh_token) => call('POST', '/api/v1/auth/refresh', { body: { refresh_token } });
/** @param {unknown} refresh_token */
const logout = (refresh_token) => call('POST', '/api/v1/auth/logout', { body: { refresh_token } });
/** @param {string} token */
const me = (token) => call('GET', '/api/v1/auth/me', { token });

/** @param {object} value */
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** @param {string} part @returns {any} */
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());

stories('refresh tokens', () => {
  story('refreshing gives a new pair, and the new access token works', async () => {
    const ann = await register(url, 'ann');
    const answer = await refresh(ann.refresh_token);
    assert.equal(answer.status, 200, answer.text);
    isSession(answer.body);
    assert.equal(answer.body.user.user_id, ann.user_id);
    assert.notEqual(answer.body.refresh_token, ann.refresh_token);
    assert.equal((await me(answer.body.access_token)).status, 200);
  });

  story('using a spent refresh token kills its family, and no other', async () => {
    const ann = await register(url, 'ann');
    const phone = await login(ann);
    const first = ann.refresh_token;
    await ann.refresh();
    await ann.refresh();
    isProblem(await refresh(first), 401, 'AUTH_REQUIRED');
    isProblem(await refresh(ann.refresh_token), 401, 'AUTH_REQUIRED');
    assert.equal((await refresh(phone.refresh_token)).status, 200);
  });

  story('of two who spend the same refresh token at once, the one that was served last goes on', async () => {
    const ann = await register(url, 'ann');
    const answers = await Promise.all([refresh(ann.refresh_token), refresh(ann.refresh_token)]);
    assert.deepEqual(answers.map(({ status }) => status), [200, 200]);
    const [replaced, last] = answers.map(({ body }) => body).sort((one, other) => one.generation - other.generation);
    assert.deepEqual([replaced.generation, last.generation], [2, 3]);
    isProblem(await refresh(replaced.refresh_token), 401, 'AUTH_REQUIRED');
    assert.equal((await me(replaced.access_token)).status, 200, 'the session lives');
    assert.equal((await refresh(last.refresh_token)).status, 200);
  });

  story('an answer that was lost can be asked for again, as long as nobody has used its successor', async () => {
    const ann = await register(url, 'ann');
    const spent = ann.refresh_token;
    assert.equal((await refresh(spent)).status, 200);
    const again = await refresh(spent);
    assert.equal(again.status, 200, again.text);
    const next = await refresh(again.body.refresh_token);
    assert.equal(next.status, 200, next.text);
    isProblem(await refresh(spent), 401, 'AUTH_REQUIRED');
    isProblem(await refresh(next.body.refresh_token), 401, 'AUTH_REQUIRED');
  });

  story('what is not a refresh token is refused', async () => {
    const ann = await register(url, 'ann');
    for (const wrong of ['x', ann.token, `${ann.refresh_token}x`, ann.refresh_token.slice(1), 'ä'.repeat(100)]) {
      isProblem(await refresh(wrong), 401, 'AUTH_REQUIRED');
    }
    isProblem(await refresh(17), 400, 'INVALID_REQUEST');
    assert.equal((await refresh(ann.refresh_token)).status, 200, 'and the right one still works');
  });

  story('logging out ends the family, is idempotent, and takes any token', async () => {
    const ann = await register(url, 'ann');
    const phone = await login(ann);
    for (const token of [ann.refresh_token, ann.refresh_token, 'never existed', ann.token]) {
      const answer = await logout(token);
      assert.equal(answer.status, 204, answer.text);
      assert.equal(answer.text, '');
    }
    isProblem(await refresh(ann.refresh_token), 401, 'AUTH_REQUIRED');
    assert.equal((await refresh(phone.refresh_token)).status, 200);
  });
});

overBothTransports('logging out', (transport) => {
  story('closes the sockets of its session, also after a refresh, and of no other', async () => {
    const ann = await register(url, 'ann');
    const phone = await login(ann);
    const before = await connect(ann, { transports: [transport] });
    await ann.refresh();
    const after = await connect(ann, { transports: [transport] });
    const other = await connect(phone, { transports: [transport] });
    assert.equal((await logout(ann.refresh_token)).status, 204);
    assert.equal(typeof (await before.closed), 'string');
    assert.equal(typeof (await after.closed), 'string');
    assert.deepEqual(await other.fence(), []);
    assert.equal(other.socket.connected, true);
  });

  story('its access tokens are of no use any more, by REST or by a socket, and no other is harmed', async () => {
    const ann = await register(url, 'ann');
    const phone = await login(ann);
    const other = await connect(phone, { transports: [transport] });
    const before = ann.token;
    await ann.refresh();
    assert.equal((await logout(ann.refresh_token)).status, 204);
    await eventually(async () => {
      for (const token of [before, ann.token]) {
        isProblem(await me(token), 401, 'AUTH_REQUIRED');
        const error = await connectError(ann, { auth: { token }, transports: [transport] });
        assert.equal(error.data?.code, 'AUTH_REQUIRED');
        isRefused(await other.emit('authenticate', { token }), 'AUTH_REQUIRED');
      }
      return true;
    }, 'they are refused', { within: 2000 });
    isAccepted(await other.emit('authenticate', { token: phone.token }));
    assert.equal((await me(phone.token)).status, 200);
  });
});

stories('access tokens', () => {
  story('anybody can verify them with the published keys', async () => {
    const ann = await register(url, 'ann');
    const answer = await call('GET', '/.well-known/jwks.json');
    assert.equal(answer.status, 200, answer.text);
    const [header, payload, signature] = ann.token.split('.');
    const { alg, kid } = decode(header);
    assert.equal(alg, 'EdDSA');
    const jwk = answer.body.keys.find((/** @type {any} */ key) => key.kid === kid);
    assert.ok(jwk, `no key ${kid} in ${answer.text}`);
    assert.equal(jwk.kty, 'OKP');
    assert.equal(jwk.crv, 'Ed25519');
    assert.ok(!answer.body.keys.some((/** @type {any} */ key) => 'd' in key), 'a private key is published');
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    assert.ok(verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')));
    const claims = decode(payload);
    assert.equal(claims.sub, ann.user_id);
    assert.equal(Math.round(claims.exp - claims.iat), ann.session.expires_in);
  });

  story('a token of the wrong kind, form, key or algorithm is refused', async () => {
    const ann = await register(url, 'ann');
    const [header, payload, signature] = ann.token.split('.');
    const { privateKey } = generateKeyPairSync('ed25519');
    const stolen = `${header}.${payload}`;
    const { keys } = (await call('GET', '/.well-known/jwks.json')).body;
    const { kid } = decode(header);
    const published = keys.find((/** @type {any} */ key) => key.kid === kid);
    const hs256 = `${encode({ alg: 'HS256', typ: 'JWT', kid })}.${payload}`;
    const forever = encode({ ...decode(payload), exp: 4e9 });
    const forged = {
      'a refresh token': ann.refresh_token,
      'not a JWT': 'a.b.c',
      'one part': header,
      'no signature': `${stolen}.`,
      'another key': `${stolen}.${sign(null, Buffer.from(stolen), privateKey).toString('base64url')}`,
      'an algorithm of none': `${encode({ alg: 'none', typ: 'JWT', kid })}.${payload}.`,
      'the public key as a secret': `${hs256}.${createHmac('sha256', Buffer.from(published.x, 'base64url')).update(hs256).digest('base64url')}`,
      'a longer life': `${header}.${forever}.${signature}`,
    };
    for (const [what, token] of Object.entries(forged)) {
      isProblem(await me(token), 401, 'AUTH_REQUIRED');
      const error = await connectError(ann, { auth: { token } });
      assert.equal(error.data?.code, 'AUTH_REQUIRED', what);
    }
    for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${ann.token}`, ann.token, `Bearer ${ann.token} x`]) {
      isProblem(await call('GET', '/api/v1/auth/me', { headers: { authorization } }), 401, 'AUTH_REQUIRED');
    }
    assert.equal((await me(ann.token)).status, 200);
  });

  story('a request with two Authorization headers is refused', async () => {
    const ann = await register(url, 'ann');
    const ben = await register(url, 'ben');
    const status = (/** @type {string[]} */ authorization) =>
      new Promise((resolve, reject) => {
        const request = http.request(`${url}/api/v1/auth/me`).setHeader('authorization', authorization);
        request.once('response', (answer) => resolve(answer.resume().statusCode)).once('error', reject).end();
      });
    const [first, second] = [`Bearer ${ann.token}`, `Bearer ${ben.token}`];
    assert.equal(await status([first]), 200);
    for (const both of [[first, second], [first, first], [first, 'Basic eDp5'], ['', first]]) {
      assert.equal(await status(both), 400, both.map((each) => each.slice(0, 9)).join());
    }
    assert.equal(await status([`${first}, ${second}`]), 401, 'put into one by somebody in between');
  });

  story('a token that has run out is refused, by REST and by the socket', async () => {
    const ann = await register(brief.url, 'ann');
    assert.equal(ann.session.expires_in, 2);
    const refused = await eventually(async () => {
      const answer = await ann.get('/api/v1/auth/me');
      return answer.status === 200 ? undefined : answer;
    }, 'the token runs out');
    isProblem(refused, 401, 'AUTH_REQUIRED');
    const error = await connectError(ann);
    assert.equal(error.data?.code, 'AUTH_REQUIRED');
    await ann.refresh();
    assert.equal((await ann.get('/api/v1/auth/me')).status, 200);
  });

  story(
    'a connection whose token runs out is told so and closed',
    async () => {
      const ann = await register(brief.url, 'ann');
      const connection = await connect(ann);
      const error = await connection.next('error', undefined, 62_000);
      assert.equal(error.code, 'AUTH_REQUIRED');
      assert.equal(typeof error.message, 'string');
      assert.ok(Date.now() >= Date.parse(connection.connected.expires_at), 'not before it has run out');
      assert.equal(typeof (await connection.closed), 'string');
    },
    70_000,
  );
});

overBothTransports('authenticating again', (transport) => {
  story('a fresh token keeps the connection beyond the life of the first', async () => {
    const ann = await register(brief.url, 'ann');
    const connection = await connect(ann, { transports: [transport] });
    const end = Date.parse(connection.connected.expires_at);
    // It goes on until the first token has been dead for a second: always with a live one in place.
    while (Date.now() < end + 1000) {
      const asked = Date.now();
      await ann.refresh();
      const ack = await connection.emit('authenticate', { token: ann.token });
      const payload = await connection.next('authenticated');
      isAccepted(ack, payload);
      assert.equal(payload.user_id, ann.user_id);
      isTime(payload.expires_at, 'expires_at');
      assert.ok(Date.parse(payload.expires_at) > asked);
    }
    assert.deepEqual(await connection.fence(), [], 'no error has come');
    assert.equal(connection.socket.connected, true);
  });

  story("a bad token or another user's is refused, and the old one stays", async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const connection = await connect(ann, { transports: [transport] });
    for (const token of ['a.b.c', ben.token, ann.refresh_token]) {
      isRefused(await connection.emit('authenticate', { token }), 'AUTH_REQUIRED');
    }
    connection.send('authenticate', { token: ben.token });
    assert.equal((await connection.next('error')).code, 'AUTH_REQUIRED');
    isRefused(await connection.emit('authenticate', {}), 'INVALID_REQUEST');
    const { room_id } = await createRoom(ann);
    isAccepted(await connection.emit('join_room', { room_id }));
    assert.equal((await connection.next('room_joined')).is_host, true, 'it still is the first user');
  });
});

// By itself, and last: it looks at all that the stories above have written.
story('no token or password reaches a log or the disk', async () => {
  const [ann, ben] = await cast(url, 'ann', 'ben');
  await befriend(ann, ben);
  const spent = ann.refresh_token;
  await ann.refresh();
  const byQuery = await connect(ann, { auth: {}, query: { token: ann.token } });
  const byPolling = await connect(ben, { auth: {}, query: { token: ben.token }, transports: ['polling'] });
  isAccepted(await byQuery.emit('authenticate', { token: ann.token }));
  await byPolling.fence();
  await call('POST', '/api/v1/auth/login', { body: { login: ann.username, password: 'my secret passphrase' } });

  const places = [tutti.stdout(), tutti.stderr()];
  for (const entry of readdirSync(tutti.dataDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) places.push(readFileSync(join(entry.parentPath ?? entry.path, entry.name), 'latin1'));
  }
  // PostgreSQL keeps its files to itself; what is in them is what SQLite has.
  const keepsFiles = !(process.env.TUTTI_STORIES_ON && process.env.TEST_POSTGRES_URL);
  assert.ok(
    !keepsFiles || places.some((text) => text.includes(ann.username)),
    'the database should have been among the files',
  );
  const secrets = {
    'an access token': ann.token.split('.')[2],
    "a polling client's access token": ben.token.split('.')[2],
    'a refresh token': ann.refresh_token,
    'a spent refresh token': spent,
    'a password': ann.password,
    'a wrong password': 'my secret passphrase',
  };
  for (const [what, secret] of Object.entries(secrets)) {
    assert.ok(!places.some((text) => text.includes(secret)), `${what} was written down`);
  }
});
