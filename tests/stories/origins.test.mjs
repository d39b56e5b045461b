// Which pages may connect: their own server's, and those that ALLOWED_ORIGINS names.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { api, connect, connectError, register } from '../support/api.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, stories, story } from '../support/story.mjs';

const APP = 'https://app.example.org';
const closed = await serve({ env: { ...unlimited, PUBLIC_URL: 'https://music.example.org' } });
const open = await serve({ env: { ...unlimited, ALLOWED_ORIGINS: `${APP},http://localhost:3000` } });

const FOREIGN = [
  'https://evil.example.org',
  'http://127.0.0.1',
  'http://127.0.0.1:1',
  'null',
  'https://app.example.org.evil.example',
  'https://evil-app.example.org',
  'http://app.example.org',
  'https://app.example.org:8443',
  'nonsense',
];

/**
 * The status with which the first request of a transport is answered; 101 is a WebSocket.
 * @param {string} url
 * @param {string} transport
 * @param {string | undefined} origin
 * @param {string} [host]
 * @returns {Promise<{status: number | undefined, headers: import('node:http').IncomingHttpHeaders}>}
 */
function knock(url, transport, origin, host) {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': randomBytes(16).toString('base64'),
  };
  return new Promise((resolve, reject) => {
    const knocking = request(`${url}/socket.io/?EIO=4&transport=${transport}`, {
      timeout: 10_000,
      headers: {
        ...(origin === undefined ? {} : { origin }),
        ...(host === undefined ? {} : { host }),
        ...(transport === 'websocket' ? upgrade : {}),
      },
    });
    knocking.once('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    knocking.once('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    knocking.once('timeout', () => knocking.destroy(new Error('no answer')));
    knocking.once('error', reject);
    knocking.end();
  });
}

/** @param {number | undefined} status @param {string} origin */
function isTurnedAway(status, origin) {
  assert.ok(status !== undefined && status >= 400 && status < 500, `${origin}: ${status}`);
}

overBothTransports('origins', (transport) => {
  const welcome = transport === 'websocket' ? 101 : 200;
  const transports = [transport];

  story('a page of the same origin, and a program without one, may connect', async () => {
    for (const { url } of [closed, open]) {
      assert.equal((await knock(url, transport, url)).status, welcome);
      assert.equal((await knock(url, transport, undefined)).status, welcome);
      const ann = await register(url, 'ann');
      const connection = await connect(ann, { transports, extraHeaders: { origin: url } });
      assert.equal(connection.connected.user_id, ann.user_id);
    }
  });

  story('the same origin is the one under which the server was called', async () => {
    assert.equal((await knock(closed.url, transport, 'https://music.example.org', 'music.example.org')).status, welcome);
    isTurnedAway((await knock(closed.url, transport, closed.url, 'music.example.org')).status, closed.url);
  });

  story('a foreign page may not', async () => {
    for (const origin of [...FOREIGN, APP]) {
      isTurnedAway((await knock(closed.url, transport, origin)).status, origin);
    }
    for (const origin of FOREIGN) {
      isTurnedAway((await knock(open.url, transport, origin)).status, origin);
    }
    const ann = await register(closed.url, 'ann');
    const error = await connectError(ann, { transports, extraHeaders: { origin: 'https://evil.example.org' } });
    assert.equal(error.data, undefined, 'it is refused before anything is said');
  });

  story('an origin that is allowed may', async () => {
    for (const origin of [APP, 'http://localhost:3000']) {
      assert.equal((await knock(open.url, transport, origin)).status, welcome, origin);
      const ann = await register(open.url, 'ann');
      const connection = await connect(ann, { transports, extraHeaders: { origin } });
      assert.equal(connection.connected.user_id, ann.user_id);
    }
  });
});

stories('pages of another origin', () => {
  story('may read the answers when they are allowed to', async () => {
    const polled = await knock(open.url, 'polling', APP);
    assert.equal(polled.headers['access-control-allow-origin'], APP);
    const answer = await api(open.url)('GET', '/api/v1/auth/me', { headers: { origin: APP } });
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get('access-control-allow-origin'), APP);
    // And see when files came, by which their clock is set.
    const file = await fetch(`${open.url}/friend-room-client.js`, { headers: { origin: APP } });
    assert.equal(file.headers.get('timing-allow-origin'), APP);
  });

  story('may ask beforehand what they may send', async () => {
    const answer = await api(open.url)('OPTIONS', '/api/v1/rooms/create', {
      headers: {
        origin: APP,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    assert.ok([200, 204].includes(answer.status), `${answer.status}`);
    assert.equal(answer.headers.get('access-control-allow-origin'), APP);
    assert.match(answer.headers.get('access-control-allow-methods') ?? '', /POST|\*/);
    const names = (answer.headers.get('access-control-allow-headers') ?? '').toLowerCase();
    assert.match(names, /authorization/);
    assert.match(names, /content-type/);
  });

  story('read nothing when they are not', async () => {
    for (const { url } of [closed, open]) {
      for (const origin of ['https://evil.example.org', 'null']) {
        const answer = await api(url)('GET', '/api/v1/auth/me', { headers: { origin } });
        assert.equal(answer.headers.get('access-control-allow-origin'), null);
        const file = await fetch(`${url}/friend-room-client.js`, { headers: { origin } });
        assert.equal(file.headers.get('timing-allow-origin'), null);
      }
    }
  });
});
