// The HAProxy and nginx configurations of deploy/, in front of gateways that say who they are, and of real ones.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { closeConnections, connect, createRoom, register } from '../support/api.mjs';
import { eventually } from '../support/eventually.mjs';
import { startParts } from '../support/parts.mjs';
import { binary, freePort } from '../support/server.mjs';
import { named, nginxConfiguration, startHaproxy, startNginx } from './balancers.mjs';
import { DEPLOY, must, PATH, run } from './support.mjs';

const SOURCES = {
  haproxy: readFileSync(join(DEPLOY, 'haproxy/haproxy.cfg'), 'utf8'),
  nginx: readFileSync(join(DEPLOY, 'nginx/nginx.conf'), 'utf8'),
};

/** Says its name and what it was sent. @param {string} name @param {number} [port] */
async function startStub(name, port = 0) {
  const stub = { name, ready: true, asked: 0, address: '', end: async () => {}, silent: false, full: false, mostOnOneConnection: 0 };
  /** @type {WeakMap<import('node:net').Socket, number>} */
  const requests = new WeakMap();
  const server = createServer((incoming, answer) => {
    if (incoming.url === '/readyz') {
      answer.writeHead(stub.ready ? 200 : 503).end();
      return;
    }
    stub.asked += 1;
    const count = (requests.get(incoming.socket) ?? 0) + 1;
    requests.set(incoming.socket, count);
    stub.mostOnOneConnection = Math.max(stub.mostOnOneConnection, count);
    if (stub.silent) {
      incoming.socket.destroy();
      return;
    }
    if (stub.full && incoming.url?.startsWith('/socket.io/') && !incoming.url.includes('sid=')) {
      answer.writeHead(503).end();
      return;
    }
    let bytes = 0;
    incoming.on('data', (/** @type {Buffer} */ data) => (bytes += data.length));
    incoming.on('end', () => {
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ name, url: incoming.url, headers: incoming.headers, bytes }));
    });
  });
  server.on('upgrade', (_incoming, socket) => {
    stub.asked += 1;
    if (stub.full) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return;
    }
    socket.on('error', () => {}).on('data', () => {}).on('end', () => socket.end());
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n');
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  stub.address = `127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
  stub.end = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  return stub;
}

/**
 * One request on a connection of its own, or on the agent's.
 * @param {string} url
 * @param {{method?: string, headers?: Record<string, string>, body?: string | Buffer, agent?: Agent}} [options]
 * @returns {Promise<{status: number, headers: import('node:http').IncomingHttpHeaders, text: string, json: any}>}
 */
function ask(url, { method = 'GET', headers = {}, body, agent } = {}) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: agent ?? false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => (text += part));
      answer.on('error', reject);
      answer.on('end', () => {
        const json = /json/.test(answer.headers['content-type'] ?? '') ? JSON.parse(text) : undefined;
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json });
      });
    });
    asked.on('upgrade', (answer, socket) => {
      socket.on('error', () => {}).destroy();
      resolve({ status: 101, headers: answer.headers, text: '', json: undefined });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

const UPGRADE = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
const POLL = '/socket.io/?EIO=4&transport=polling';

void describe('the files are sound', () => {
  void test('haproxy -c, with one gateway, with six, with a name, with TLS', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tutti-haproxy-'));
    try {
      const pem = join(folder, 'tls.pem');
      const self = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-subj', '/CN=localhost', '-days', '1'];
      writeFileSync(pem, await must('openssl', [...self, '-keyout', '-', '-out', '-']));
      const six = Array.from({ length: 6 }, (_, index) => `127.0.0.1:${8001 + index}`);
      for (const env of [named(six.slice(0, 1)), named(six), { GATEWAYS_DNS: 'localhost:8000' }, { ...named(six), TLS_BIND: '127.0.0.1:8443', TLS_CERT_FILE: pem }]) {
        await must('haproxy', ['-c', '-q', '-f', join(DEPLOY, 'haproxy/haproxy.cfg')], { env: { ...env, HTTP_BIND: '127.0.0.1:8000' } });
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  void test('nginx -t', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tutti-nginx-'));
    try {
      const file = nginxConfiguration(['127.0.0.1:8001', '127.0.0.1:8002'], await freePort(), folder);
      const { code, err } = await run('nginx', ['-t', '-q', '-c', file], { env: { PATH } });
      assert.equal(code, 0, err);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  void test("they wait longer than a ping's interval and timeout, and take more than a gateway does", async () => {
    const help = await must(binary(), ['--help']);
    const setting = (/** @type {string} */ name) =>
      Number.parseInt(/** @type {RegExpExecArray} */ (new RegExp(`env: ${name}=\\]\\s+\\[default: (\\d+)`).exec(help))[1], 10);
    const silence = setting('SOCKET_PING_INTERVAL') + setting('SOCKET_PING_TIMEOUT');
    const seconds = (/** @type {keyof typeof SOURCES} */ file, /** @type {string} */ name) =>
      Number.parseInt(/** @type {RegExpExecArray} */ (new RegExp(`^\\s*${name} (\\d+)s`, 'm').exec(SOURCES[file]))[1], 10);
    for (const name of ['timeout client', 'timeout server', 'timeout tunnel']) assert.ok(seconds('haproxy', name) > silence, name);
    for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) assert.ok(seconds('nginx', name) > silence, name);
    assert.match(SOURCES.nginx, /client_max_body_size 1m;/);
  });
});

for (const [name, start] of /** @type {const} */ ([['HAProxy', startHaproxy], ['nginx', startNginx]])) {
  void describe(`${name}, in front of gateways that say who they are`, async () => {
    const stubs = await Promise.all(['a', 'b', 'c'].map((each) => startStub(each)));
    const balancer = await start(stubs.map(({ address }) => address));
    after(async () => {
      await balancer.stop();
      for (const stub of stubs) await stub.end();
    });
    const { url } = balancer;

    void test('hands on host, origin, address and upgrade', async () => {
      const { json } = await ask(`${url}/x?y=z`, { headers: { 'x-forwarded-for': '6.6.6.6', origin: url } });
      assert.equal(json.url, '/x?y=z');
      assert.equal(json.headers.host, new URL(url).host, 'with the port, which is part of the origin');
      // With TRUSTED_PROXIES=1 the last one counts, and that is not the made-up one.
      assert.equal(json.headers['x-forwarded-for'].split(',').at(-1).trim(), '127.0.0.1');
      assert.equal((await ask(`${url}/socket.io/?EIO=4&transport=websocket`, { headers: UPGRADE })).status, 101);
    });

    void test('spreads what need not stay', async () => {
      const seen = new Set();
      for (let index = 0; index < 12; index += 1) seen.add((await ask(`${url}/api/v1/rooms`)).json.name);
      assert.deepEqual([...seen].sort(), ['a', 'b', 'c']);
      const before = stubs.map(({ asked }) => asked);
      for (let index = 0; index < 12; index += 1) await ask(`${url}/socket.io/?EIO=4&transport=websocket`, { headers: UPGRADE });
      assert.ok(stubs.every(({ asked }, index) => asked > before[index]), 'WebSockets reach all');
    });

    void test('sends no second request over a connection that a gateway might be closing', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let index = 0; index < 9; index += 1) await ask(`${url}/api/v1/rooms`, { agent, method: 'POST', body: '{}' });
      agent.destroy();
      for (const { mostOnOneConnection } of stubs) assert.equal(mostOnOneConnection, 1);
    });

    void test('keeps a long-polling session at its gateway, with the cookie and without', async () => {
      const first = await ask(url + POLL);
      const cookie = (first.headers['set-cookie'] ?? [])[0];
      assert.match(cookie, /^tutti_\w+=/);
      assert.match(cookie, /HttpOnly/i);
      for (const headers of [{ cookie: cookie.split(';')[0] }, undefined]) {
        for (const method of ['GET', 'POST', 'GET', 'POST', 'GET']) {
          const { json } = await ask(`${url}${POLL}&sid=abc`, { method, headers, body: method === 'POST' ? '2' : undefined });
          assert.equal(json.name, first.json.name);
        }
        // The upgrade to WebSocket belongs to the session too.
        const before = stubs.map(({ asked }) => asked);
        await ask(`${url}/socket.io/?EIO=4&transport=websocket&sid=abc`, { headers: { ...headers, ...UPGRADE } });
        const [went] = stubs.filter(({ asked }, index) => asked > before[index]);
        assert.equal(went.name, first.json.name);
      }
      // The cookie, not the address, says where: whoever brings another's goes there.
      const names = new Set([first.json.name]);
      for (const address of ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5']) {
        const elsewhere = await new Promise((resolve, reject) => {
          const asked = request(`${url}${POLL}&sid=abc`, { agent: false, localAddress: address, headers: { cookie: cookie.split(';')[0] } }, (answer) => {
            let text = '';
            answer.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve(JSON.parse(text)));
          });
          asked.on('error', reject);
          asked.end();
        });
        names.add(elsewhere.name);
      }
      assert.deepEqual([...names], [first.json.name]);
    });

    void test("lets the gateway refuse what is too large", async () => {
      const { json } = await ask(`${url}/api/v1/rooms/create`, { method: 'POST', body: Buffer.alloc(256 * 1024) });
      assert.equal(json.bytes, 256 * 1024);
      const token = 'x'.repeat(12 * 1024);
      assert.equal((await ask(`${url}/socket.io/?EIO=4&transport=polling&token=${token}`)).status, 200);
    });

    void test('logs no query, since a token may be in it', async () => {
      await ask(`${url}${POLL}&token=hunter2`);
      await eventually(() => balancer.output().includes('/socket.io/'), 'it is logged');
      assert.ok(!balancer.output().includes('hunter2'));
      assert.ok(!balancer.output().includes('transport='));
    });
  });

  void describe(`${name}, when gateways go`, async () => {
    /** @param {(stubs: Awaited<ReturnType<typeof startStub>>[], url: string) => Promise<void>} body */
    const inFrontOfThree = (body) => async () => {
      const stubs = await Promise.all(['a', 'b', 'c'].map((each) => startStub(each)));
      const balancer = await start(stubs.map(({ address }) => address));
      try {
        await body(stubs, balancer.url);
      } finally {
        await balancer.stop();
        for (const stub of stubs) await stub.end();
      }
    };

    void test('nobody notices that one is gone, on connections that are kept either', inFrontOfThree(async (stubs, url) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 4 });
      const all = (/** @type {number} */ count) =>
        Promise.all(Array.from({ length: count }, (_, index) => ask(`${url}/api/v1/rooms`, { agent, ...(index % 2 ? { method: 'POST', body: '{}' } : {}) })));
      await all(12);
      await stubs[1].end();
      for (const { status, json } of await all(60)) {
        assert.equal(status, 200);
        assert.notEqual(json.name, 'b');
      }
      agent.destroy();
    }));

    void test('a session of the one that is gone begins anew elsewhere', inFrontOfThree(async (stubs, url) => {
      const first = await ask(url + POLL);
      const headers = { cookie: /** @type {string[]} */ (first.headers['set-cookie'])[0].split(';')[0] };
      await /** @type {Awaited<ReturnType<typeof startStub>>} */ (stubs.find((stub) => stub.name === first.json.name)).end();
      const next = await ask(url + POLL, { headers });
      assert.equal(next.status, 200);
      assert.notEqual(next.json.name, first.json.name);
      // And stays there, whatever becomes of the cookie.
      const cookie = next.headers['set-cookie']?.[0].split(';')[0] ?? headers.cookie;
      for (let index = 0; index < 5; index += 1) {
        assert.equal((await ask(url + POLL, { headers: { cookie } })).json.name, next.json.name);
      }
    }));

    void test('a POST that a gateway took and did not answer is not sent twice', inFrontOfThree(async (stubs, url) => {
      for (const stub of stubs) stub.silent = true;
      const before = stubs.reduce((sum, { asked }) => sum + asked, 0);
      const { status, json } = await ask(`${url}/api/v1/rooms/create`, { method: 'POST', body: '{}' });
      assert.equal(status, 503);
      assert.equal(json.code, 'UNAVAILABLE');
      assert.equal(stubs.reduce((sum, { asked }) => sum + asked, 0), before + 1);
    }));

    void test('a gateway that takes no new sockets is passed over, before anybody looked at its health', inFrontOfThree(async (stubs, url) => {
      stubs[0].full = true;
      stubs[1].full = true;
      for (let index = 0; index < 6; index += 1) {
        assert.equal((await ask(`${url}/socket.io/?EIO=4&transport=websocket`, { headers: UPGRADE })).status, 101);
        assert.equal((await ask(url + POLL)).status, 200);
      }
    }));

    void test('with none left it says so at once, as a gateway would', inFrontOfThree(async (stubs, url) => {
      for (const stub of stubs) await stub.end();
      const begun = performance.now();
      const { status, headers, json } = await ask(`${url}/api/v1/rooms`);
      assert.ok(performance.now() - begun < 4_000);
      assert.equal(status, 503);
      assert.match(headers['content-type'] ?? '', /^application\/problem\+json/);
      assert.deepEqual([json.status, json.code], [503, 'UNAVAILABLE']);
    }));
  });

  void test(`${name} keeps what a proxy before it says of a client, and nothing that others say`, async () => {
    const stub = await startStub('a');
    const said = { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https' };
    try {
      for (const [networks, address, scheme] of [
        ['192.0.2.1 127.0.0.0/8', '203.0.113.7, 127.0.0.1', 'https, http'],
        ['192.0.2.1 198.51.100.0/24', '127.0.0.1', 'http'],
        // Those on this machine.
        [undefined, '203.0.113.7, 127.0.0.1', 'https, http'],
      ]) {
        const balancer = await start([stub.address], networks ? { PROXY_NETWORKS: networks } : {});
        try {
          const { json } = await ask(`${balancer.url}/x`, { headers: said });
          assert.equal(json.headers['x-forwarded-for'], address, networks);
          assert.equal(json.headers['x-forwarded-proto'], scheme, networks);
        } finally {
          await balancer.stop();
        }
      }
    } finally {
      await stub.end();
    }
  });

  void describe(`${name}, in front of real gateways`, async () => {
    const parts = await startParts({ env: { TRUSTED_PROXIES: '1' } });
    const balancer = await start([new URL(parts.url).host]);
    after(async () => {
      closeConnections();
      await balancer.stop();
      await parts.stop();
    });
    const ann = await register(balancer.url, `ann-${name.toLowerCase()}`);
    for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
      void test(`a room over ${transports.join(', then ')}`, async () => {
        const connection = await connect(ann, { transports, extraHeaders: { origin: balancer.url } });
        const room = await createRoom(ann);
        connection.send('join_room', { room_id: room.room_id });
        assert.equal((await connection.next('room_joined')).is_host, true);
        await eventually(() => connection.socket.io.engine.transport.name === transports.at(-1), 'it is on its last transport');
        connection.close();
      });
    }
  });
}

void describe('HAProxy looks at /readyz', async () => {
  const stubs = await Promise.all(['a', 'b'].map((each) => startStub(each)));
  const balancer = await startHaproxy(stubs.map(({ address }) => address));
  after(async () => {
    await balancer.stop();
    for (const stub of stubs) await stub.end();
  });

  void test('who drains soon gets nobody new, and keeps its sessions', async () => {
    const { url } = balancer;
    const first = await ask(url + POLL);
    const [drains, other] = first.json.name === 'a' ? stubs : [stubs[1], stubs[0]];
    const headers = { cookie: /** @type {string[]} */ (first.headers['set-cookie'])[0].split(';')[0] };
    drains.ready = false;
    const begun = performance.now();
    await eventually(async () => {
      const anew = [`${url}/`, `${url}/`, `${url}/`, url + POLL];
      const names = await Promise.all(anew.map(async (each) => (await ask(each, { headers })).json.name));
      return names.every((each) => each === other.name);
    }, 'nobody new');
    assert.ok(performance.now() - begun < 4_000, `${performance.now() - begun} ms`);
    assert.equal((await ask(`${url}${POLL}&sid=abc`, { headers })).json.name, drains.name, 'its session is still its own');
    drains.ready = true;
    await eventually(async () => (await ask(`${url}/`)).json.name === drains.name, 'back again');
  });

  void test('where none is ready, they are asked all the same', async () => {
    const { url } = balancer;
    for (const stub of stubs) stub.ready = false;
    // A gateway's own words are handed on, too.
    await eventually(async () => (await ask(`${url}/readyz`)).status === 503, 'none is ready');
    const page = await ask(`${url}/`);
    assert.equal(page.status, 200);
    const poll = await ask(url + POLL);
    assert.equal(poll.status, 200);
    const headers = { cookie: /** @type {string[]} */ (poll.headers['set-cookie'])[0].split(';')[0] };
    for (let each = 0; each < 4; each++) {
      assert.equal((await ask(`${url}${POLL}&sid=abc`, { headers })).json.name, poll.json.name, 'a session stays where it began');
    }
    for (const stub of stubs) stub.ready = true;
  });
});
