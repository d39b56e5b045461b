// Whom gateways believe: sessions that end, and keys that come and go.

import assert from 'node:assert/strict';
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { api, connect, connectError, eventually, login } from '../support/api.mjs';
import { isAccepted, isProblem, isRefused } from '../support/expect.mjs';
import { binary } from '../support/program.mjs';
import { story } from '../support/story.mjs';
import { report, stage, users } from './stage.mjs';

/** @typedef {import('../support/api.mjs').User} User */

/** What is promised of a session that has ended. */
const REFUSED_WITHIN_MS = 2000;

const cluster = await stage({ gateways: 2 });
const cast = await users(cluster.url, 4);
const urls = cluster.gateways.map(({ url }) => url);

/** The same session, whose calls go to one gateway. @param {User} user @param {string} url @returns {User} */
const at = (user, url) => Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url });

/** @param {User} user */
const me = (user) => user.get('/api/v1/auth/me');

/** @param {User} session */
async function logout({ refresh_token, url }) {
  const answer = await api(url)('POST', '/api/v1/auth/logout', { body: { refresh_token } });
  assert.equal(answer.status, 204, answer.text);
}

/** A refresh token that was spent long ago is spent again. @param {User} session */
async function reuse(session) {
  const { refresh_token } = session;
  await session.refresh();
  await session.refresh();
  isProblem(await api(session.url)('POST', '/api/v1/auth/refresh', { body: { refresh_token } }), 401, 'AUTH_REQUIRED');
}

/**
 * A session is of no use on these gateways: not for REST, not to connect, not to be moved into.
 * @param {User} ended
 * @param {User} living of the same user
 */
async function isRefusedBy(ended, living, gateways = urls) {
  await Promise.all(gateways.map(async (url) => {
    isProblem(await me(at(ended, url)), 401, 'AUTH_REQUIRED');
    assert.equal((await connectError(at(ended, url))).data?.code, 'AUTH_REQUIRED');
    const connection = await connect(at(living, url));
    isRefused(await connection.emit('authenticate', { token: ended.token }), 'AUTH_REQUIRED');
    isAccepted(await connection.emit('authenticate', { token: living.token }));
    connection.close();
  }));
}

for (const [how, end] of Object.entries({ logout, reuse })) {
  story(`a session that ends by ${how} is refused on every gateway within 2 s`, async (t) => {
    const [ann] = cast;
    const [living, ended] = [await login(ann), at(await login(ann), urls[0])];
    const connection = await connect(at(ended, urls[1]));
    const before = { ...ended };
    await end(ended);
    const since = performance.now();
    for (const token of new Set([before.token, ended.token])) {
      const session = Object.assign(at(ended, urls[0]), { token });
      await eventually(() => isRefusedBy(session, living).then(() => true), 'it is refused', { within: REFUSED_WITHIN_MS });
    }
    report(t, `a session ends by ${how} on another gateway`, 'REST, CONNECT and `authenticate` are refused', performance.now() - since);
    await connection.closed;
    assert.equal((await me(living)).status, 200, 'the other session goes on');
  });
}

story('a gateway that starts knows of the sessions that had ended', async () => {
  const [, ben] = cast;
  const [living, ended] = [await login(ben), await login(ben)];
  const [, gateway] = cluster.gateways;
  await gateway.stop();
  await logout(at(ended, urls[0]));
  await gateway.start();
  await isRefusedBy(ended, living, [gateway.url]);
});

story('a session that ends while an auth process is frozen is refused all the same', async (t) => {
  t.after(() => cluster.auths.forEach(({ program }) => program.thaw()));
  const [, , cat] = cast;
  // Of the two, each gateway hears by one.
  for (const { name, program } of cluster.auths) {
    const [living, ended] = [await login(cat), await login(cat)];
    program.freeze();
    await logout(at(ended, urls[0]));
    const since = performance.now();
    // Twice the time it takes to notice the silence.
    await eventually(() => isRefusedBy(ended, living).then(() => true), 'it is refused', { within: 2 * REFUSED_WITHIN_MS });
    report(t, `a session ends while ${name} is frozen`, 'its tokens are refused', performance.now() - since);
    program.thaw();
    await eventually(async () => (await me(at(living, urls[0]))).status === 200, 'it goes on');
  }
});

/** @param {object} value */
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** @param {string} token @param {number} part @returns {any} */
const decode = (token, part) => JSON.parse(Buffer.from(token.split('.')[part], 'base64url').toString());

/** Node reads the first version of PKCS#8 alone, which has no public key behind the private one. @param {string} file */
function withoutPublicHalf(file) {
  const der = Buffer.from(readFileSync(file, 'utf8').replace(/-----.*?-----|\s/g, ''), 'base64');
  const seed = der.indexOf(Buffer.from('04220420', 'hex')) + 4;
  return Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), der.subarray(seed, seed + 32)]);
}

/**
 * A token like that one with other claims or another header, signed with the cluster's own key.
 * @param {string} token
 * @param {{header?: object, claims?: object}} changes
 */
function signed(token, { header, claims }) {
  const text = `${encode({ ...decode(token, 0), ...header })}.${encode({ ...decode(token, 1), ...claims })}`;
  const key = createPrivateKey({ key: withoutPublicHalf(join(cluster.folder, 'key.pem')), format: 'der', type: 'pkcs8' });
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

story('no token lives longer than ACCESS_TOKEN_TTL, whoever signed it', async () => {
  const [ann] = cast;
  const now = Math.floor(Date.now() / 1000);
  const minutes = (/** @type {number} */ number) => now + 60 * number;
  for (const [iat, exp, status] of [[now, minutes(14), 200], [now, minutes(17), 401], [minutes(-16), minutes(1), 401], [minutes(60), minutes(70), 401]]) {
    const token = signed(ann.token, { claims: { iat, exp } });
    for (const url of urls) assert.equal((await me(Object.assign(at(ann, url), { token }))).status, status, `from ${iat - now} to ${exp - now} s`);
  }
});

story('a token from the future, or with what must be understood and is not, is refused, whoever signed it', async () => {
  const [ann] = cast;
  const now = Math.floor(Date.now() / 1000);
  const good = { iat: now, exp: now + 600 };
  for (const [header, claims, status] of /** @type {[object, object, number][]} */ ([
    [{}, { nbf: now - 1 }, 200],
    [{ note: 'not understood, and need not be' }, {}, 200],
    [{}, { nbf: now + 300 }, 401],
    [{}, { nbf: null }, 401],
    [{}, { iat: now + 300 }, 401],
    [{ crit: ['exp'], exp: now + 600 }, {}, 401],
    [{ crit: ['b64'], b64: true }, {}, 401],
    [{ crit: null }, {}, 401],
    [{ note: 'x'.repeat(4000) }, {}, 401],
  ])) {
    const token = signed(ann.token, { header, claims: { ...good, ...claims } });
    const what = JSON.stringify([header, claims]).slice(0, 80);
    for (const url of urls) {
      assert.equal((await me(Object.assign(at(ann, url), { token }))).status, status, what);
      if (status === 401) assert.equal((await connectError(at(ann, url), { auth: { token } })).data?.code, 'AUTH_REQUIRED', what);
    }
  }
});

story('a token with a key that nobody knows is refused, and 503 while nobody can be asked', async (t) => {
  t.after(() => cluster.auths.forEach(({ program }) => program.thaw()));
  const [ann] = cast;
  const unknown = signed(ann.token, { header: { kid: randomUUID() } });
  const forged = (/** @type {string} */ url) => Object.assign(at(ann, url), { token: unknown });
  await Promise.all(urls.map(async (url) => {
    isProblem(await forged(url).get('/api/v1/rooms'), 401, 'AUTH_REQUIRED');
    assert.equal((await connectError(forged(url))).data?.code, 'AUTH_REQUIRED');
  }));
  for (const { program } of cluster.auths) program.freeze();
  await Promise.all(urls.map(async (url) => {
    isProblem(await forged(url).get('/api/v1/rooms'), 503, 'UNAVAILABLE');
    assert.equal((await connectError(forged(url))).data?.code, 'UNAVAILABLE');
    assert.equal((await at(ann, url).get('/api/v1/rooms')).status, 200, 'known keys are good');
    assert.equal((await api(url)('GET', '/.well-known/jwks.json')).body.keys.length, 1);
  }));
  for (const { program } of cluster.auths) program.thaw();
  await eventually(async () => (await forged(urls[0]).get('/api/v1/rooms')).status === 401, 'it goes on');
  for (const url of urls) await eventually(async () => (await fetch(`${url}/readyz`)).ok, 'the gateway is ready again');
  await eventually(async () => (await me(ann)).status === 200, 'by the balancer, too');
});

story('a new key is taken up one auth process after the other, and nobody is refused', async () => {
  const [ann] = cast;
  const old = decode(ann.token, 0).kid;
  const folder = join(cluster.folder, 'keys');
  mkdirSync(folder);
  writeFileSync(join(folder, '1.pem'), readFileSync(join(cluster.folder, 'key.pem')));
  writeFileSync(join(folder, '2.pem'), execFileSync(binary(), ['keygen']), { mode: 0o600 });
  let rotating = true;
  let tokens = 0;
  const using = (async () => {
    while (rotating) {
      const { username, password } = ann;
      const { status, body } = await api(cluster.url)('POST', '/api/v1/auth/login', { body: { login: username, password } });
      // The one that was asked just ended.
      if (status === 503) continue;
      const token = body.access_token;
      const answers = await Promise.all(urls.map((url) => api(url)('GET', '/api/v1/rooms', { token })));
      for (const { status, text } of answers) assert.equal(status, 200, text);
      assert.equal(decode(token, 0).kid, old, 'nobody signs with it before everybody knows it');
      tokens += 1;
    }
  })();
  for (const auth of cluster.auths) {
    await auth.stop();
    await auth.start({ JWT_PRIVATE_KEY_FILE: folder });
  }
  rotating = false;
  await using;
  assert.ok(tokens > 0);
  const published = async (/** @type {string} */ url) => (await api(url)('GET', '/.well-known/jwks.json')).body.keys.length;
  for (const url of urls) await eventually(async () => (await published(url)) === 2, 'both are published');
  // One that has nothing else signs with it at once.
  const [auth] = cluster.auths;
  await auth.stop();
  await auth.start({ JWT_PRIVATE_KEY_FILE: join(folder, '2.pem') });
  await eventually(async () => {
    const session = await login(ann);
    if (decode(session.token, 0).kid === old) return false;
    for (const url of urls) assert.equal((await at(session, url).get('/api/v1/rooms')).status, 200);
    return true;
  }, 'a token with the new key');
  assert.equal(await published(urls[0]), 2, 'the other process has the old one still');
});
