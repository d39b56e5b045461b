// Which names the server answers to, and what every answer says to browsers.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect as dial } from 'node:net';
import { register } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const named = await serve({
  env: { ...unlimited, PUBLIC_URL: 'https://Music.example/', ALLOWED_ORIGINS: 'http://nas.lan:3000', TRUSTED_PROXIES: '1' },
});
const unnamed = await serve({ env: unlimited });

/**
 * @typedef {{status: number, headers: import('node:http').IncomingHttpHeaders, text: string}} Answer
 * @param {string} url
 * @param {{method?: string, path?: string, host?: string, headers?: Record<string, string>}} [what]
 * @returns {Promise<Answer>}
 */
function ask(url, { method = 'GET', path = '/', host, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const asking = request(url + path, { method, timeout: 10_000, headers: { ...(host === undefined ? {} : { host }), ...headers } });
    asking.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more) => (text += more));
      response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    asking.once('timeout', () => asking.destroy(new Error('no answer')));
    asking.once('error', reject);
    asking.end();
  });
}

/** What is sent as it is, and what came back until the end. @param {string} url @param {string} raw @returns {Promise<string>} */
function say(url, raw) {
  return new Promise((resolve, reject) => {
    let heard = '';
    const socket = dial(Number(new URL(url).port), '127.0.0.1', () => socket.write(raw));
    socket.setEncoding('latin1').on('data', (text) => (heard += text));
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject).once('close', () => resolve(heard));
  });
}

const PAGE = { accept: 'text/html,application/xhtml+xml' };
const ADDRESSES = ['127.0.0.1', '192.168.1.20:8000', '[::1]:8000', '[2001:db8::7]', 'localhost', 'LocalHost:8000', 'tutti.localhost'];
const EVIL = ['evil.example', 'music.example.evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', 'evil-localhost', '2130706433'];

stories('hosts', () => {
  story('addresses, localhost and those that are set are answered', async () => {
    for (const host of [...ADDRESSES, 'music.example', 'MUSIC.example:8443', 'music.example.', 'nas.lan']) {
      assert.equal((await ask(named.url, { host })).status, 200, host);
      assert.equal((await ask(named.url, { host, path: '/api/v1/auth/me' })).status, 401, host);
    }
    for (const host of ADDRESSES) assert.equal((await ask(unnamed.url, { host })).status, 200, host);
  });

  story('others are refused, whatever they ask for', async () => {
    const ann = await register(unnamed.url, 'ann');
    const authorization = `Bearer ${ann.token}`;
    for (const [url, hosts] of /** @type {const} */ ([[named.url, EVIL], [unnamed.url, [...EVIL, 'music.example']]])) {
      for (const host of hosts) {
        for (const path of ['/', '/api/v1/auth/me', '/socket.io/?EIO=4&transport=polling', '/.well-known/jwks.json', '/no/such/thing']) {
          const answer = await ask(url, { host, path, headers: { authorization } });
          assert.equal(answer.status, 421, `${host}${path}`);
          assert.equal(answer.headers['content-type'], 'application/problem+json');
          assert.match(JSON.parse(answer.text).detail, /PUBLIC_URL/);
        }
        assert.equal((await ask(url, { host, path: '/api/v1/auth/login', method: 'POST' })).status, 421);
      }
    }
    assert.match(unnamed.stderr(), /does not answer to the name/);
  });

  story('whoever opens a page is told what to do', async () => {
    const { status, headers, text } = await ask(unnamed.url, { host: 'music.example:8000', path: '/room/room_1', headers: PAGE });
    assert.equal(status, 421);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.match(text, /PUBLIC_URL=https:\/\/music\.example:8000/);
    const api = await ask(unnamed.url, { host: 'music.example', path: '/api/v1/rooms', headers: PAGE });
    assert.equal(api.headers['content-type'], 'application/problem+json');
    const hostile = await say(unnamed.url, `GET / HTTP/1.1\r\nHost: a&amp;b"c\r\nAccept: text/html\r\nConnection: close\r\n\r\n`);
    assert.ok(!/b"c|a&amp;b/.test(hostile.split('\r\n\r\n')[1] ?? ''), hostile);
  });

  story('health is told to whoever asks', async () => {
    for (const path of ['/healthz', '/readyz', '/readyz?exclude=writes']) {
      assert.equal((await ask(unnamed.url, { path, host: 'gateway-7.internal' })).status, 200, path);
      assert.match(await say(unnamed.url, `GET ${path} HTTP/1.0\r\n\r\n`), /^HTTP\/1\.[01] 200 /, path);
    }
  });

  // A balancer makes one of them, or refuses such a request itself.
  if (process.env.TUTTI_STORIES_ON !== 'cluster') story('who says it not at all or twice is not understood', async () => {
    const end = 'Connection: close\r\n\r\n';
    for (const [hosts, status] of /** @type {const} */ ([
      ['', 400],
      ['Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n', 400],
      ['Host: a b\r\n', 400],
      ['Host: 127.0.0.1\r\n', 200],
    ])) {
      assert.match(await say(unnamed.url, `GET / HTTP/1.1\r\n${hosts}${end}`), new RegExp(`^HTTP/1\\.1 ${status} `), hosts);
    }
    // No browser speaks HTTP/1.0.
    assert.match(await say(unnamed.url, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.[01] 200 /);
    assert.match(await say(unnamed.url, `GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n${end}`), /^HTTP\/1\.1 (421|400) /);
  });
});

/** @type {[NonNullable<Parameters<typeof ask>[1]>, number][]} each kind of answer */
const ANSWERS = [
  [{}, 200],
  [{ path: '/app.js' }, 200],
  [{ path: '/no/such/thing' }, 404],
  [{ path: '/api/v1/no/such/thing' }, 404],
  [{ path: '/api/v1/auth/me' }, 401],
  [{ path: '/api/v1/auth/login' }, 405],
  [{ path: '/healthz', method: 'POST' }, 405],
  [{ path: '/healthz' }, 200],
  [{ path: '/.well-known/jwks.json' }, 200],
  [{ path: '/socket.io/?EIO=4&transport=polling' }, 200],
  [{ path: '/socket.io/?EIO=4&transport=polling&sid=none' }, 400],
  [{ path: '/socket.io/?EIO=4&transport=polling', headers: { origin: 'https://evil.example' } }, 403],
  [{ path: '/api/v1/auth/login', method: 'OPTIONS', headers: { origin: 'http://nas.lan:3000', 'access-control-request-method': 'POST' } }, 200],
  [{ host: 'evil.example' }, 421],
];

stories('headers', () => {
  story('every answer says that it is not to be guessed at', async () => {
    for (const [what, status] of ANSWERS) {
      const answer = await ask(named.url, what);
      assert.equal(answer.status, status, JSON.stringify(what));
      assert.equal(answer.headers['x-content-type-options'], 'nosniff', JSON.stringify(what));
    }
  });

  story('who came over TLS is to come over TLS, and nobody else', async () => {
    const strict = 'max-age=31536000';
    const over = (/** @type {string} */ scheme) => ({ 'x-forwarded-proto': scheme });
    const tls = (/** @type {Answer} */ { headers }) => headers['strict-transport-security'];
    if (process.env.TUTTI_STORIES_ON !== 'cluster') {
      for (const [what] of ANSWERS) assert.equal(tls(await ask(named.url, { ...what, headers: { ...what.headers, ...over('https') } })), strict);
      assert.equal(tls(await ask(named.url, { host: 'music.example' })), strict, 'that is what PUBLIC_URL says');
    }
    assert.equal(tls(await ask(named.url, { host: '127.0.0.1' })), undefined);
    assert.equal(tls(await ask(named.url, { host: 'music.example', headers: over('http') })), undefined);
    assert.equal(tls(await ask(unnamed.url, { headers: over('https') })), undefined, 'no proxy is trusted');
  });
});

if (process.env.TUTTI_STORIES_ON === undefined) {
  story('the admin address of this machine answers to no name, and is not to be guessed at', async (t) => {
    const { freePort } = await import('../support/program.mjs');
    const port = await freePort();
    const tutti = await startTutti({ env: { ...unlimited, ADMIN_ADDR: `127.0.0.1:${port}` } });
    t.after(() => tutti.stop());
    const url = `http://127.0.0.1:${port}`;
    for (const path of ['/metrics', '/healthz', '/no/such/thing']) {
      const { headers } = await ask(url, { path });
      assert.equal(headers['x-content-type-options'], 'nosniff', path);
    }
    assert.equal((await ask(url, { path: '/metrics', host: `localhost:${port}` })).status, 200);
    assert.equal((await ask(url, { path: '/metrics', host: `evil.example:${port}` })).status, 421);
  });
}
