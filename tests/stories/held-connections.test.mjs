// Connections that cost whoever holds them nothing: bodies that are promised and do not come, answers that are not read.
// Others are to be served all the while, on a machine that allows a process no more than 1 024 files.

import assert from 'node:assert/strict';
import { connect as dial } from 'node:net';
import { after } from 'node:test';
import { api, connect, createRoom, eventually, register } from '../support/api.mjs';
import { isAccepted, isProblem } from '../support/expect.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const FILES = 1024;
const HELD = 1100;
/** Somebody else waits for a tenth of a second, and where nothing was limited for ten seconds and more. */
const SERVED_MS = 5_000;
/** All of 127.0.0.0/8 is this machine. */
const ATTACKER = '127.7.7.7';
/** 650 kB; what the systems at both ends keep is less than all of those. */
const SONG = '/tracks/slow-satellites.opus';
const SONGS = 8;
/** One of so many reads nothing: a debug build hashes a song each time, and this is not about that. */
const UNREAD = 16;
/** Of 256 that an address may have at that limit. */
const AGAIN = 200;
/** What the server waits for while nothing comes or goes, and what a slow machine may add to it. */
const STALLED_MS = 10_000;
const SLOW_MS = 15_000;

const flooded = await serve({ env: unlimited, files: FILES });
const tutti = await serve({ env: unlimited });

/** @param {string} url */
const port = (url) => Number(new URL(url).port);

/** A connection that says what it is told to, and remembers what it heard unless it does not read. */
class Held {
  heard = '';
  open = true;
  connected = false;

  /** @param {string} url @param {string} from @param {string} first what it says @param {boolean} [reads] */
  constructor(url, from, first, reads = true) {
    this.socket = dial({ host: '127.0.0.1', port: port(url), localAddress: from });
    this.reads = reads;
    this.begun = performance.now();
    this.socket.on('error', () => {});
    /** @type {Promise<number>} after how many milliseconds it was closed */
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.open = false;
        resolve(performance.now() - this.begun);
      });
    });
    this.socket.once('connect', () => {
      this.connected = true;
      this.socket.write(first);
      if (!reads) this.socket.pause();
    });
    if (reads) this.socket.setEncoding('latin1').on('data', (text) => (this.heard += text));
    held.add(this);
  }

  /** @param {string} text */
  write(text) {
    this.socket.write(text);
  }

  end() {
    held.delete(this);
    this.socket.destroy();
  }
}
/**
 * Whether the gateway is rid of it. A balancer passes its answer on and has patience of its own for what is still to come.
 * @param {Held} each
 */
const isEnded = ({ open, heard }) => !open || (process.env.TUTTI_STORIES_ON === 'cluster' && /HTTP\/1\.1 [45]\d\d /.test(heard));

/** @type {Set<Held>} */
const held = new Set();
after(() => [...held].forEach((each) => each.end()));

/** @param {string} url */
const host = (url) => `Host: ${new URL(url).host}`;

/** A poll that opens a session, and behind it a message that is promised and of which a byte comes every 20 s: that is, none in time. */
const promise = (/** @type {string} */ url) => (/** @type {string} */ sid) =>
  `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\n${host(url)}\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n4`;
/** @param {string} url */
const handshake = (url) => `GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n${host(url)}\r\n\r\n`;
/** @param {string} url */
const songs = (url) => `GET ${SONG} HTTP/1.1\r\n${host(url)}\r\n\r\n`.repeat(SONGS);

/** One that promises: as soon as it has a session it begins a message. @param {string} url */
function promising(url) {
  const one = new Held(url, ATTACKER, handshake(url));
  one.socket.on('data', function begin() {
    const sid = /"sid":"([^"]+)"/.exec(one.heard)?.[1];
    if (!sid) return;
    one.socket.off('data', begin);
    one.write(promise(url)(sid));
  });
  return one;
}

/** @param {string} url */
const unread = (url) => new Held(url, ATTACKER, songs(url), false);

/** Somebody else comes, logs in, opens a room and is heard. @param {string} url @returns {Promise<number>} the slowest of it, ms */
async function isServed(url) {
  let slowest = 0;
  /** @template T @param {Promise<T>} what */
  async function timed(what) {
    const begun = performance.now();
    const done = await what;
    slowest = Math.max(slowest, performance.now() - begun);
    return done;
  }
  const page = await timed(api(url)('GET', '/'));
  assert.equal(page.status, 200, page.text);
  const ann = await timed(register(url, 'ann'));
  const room = await timed(createRoom(ann));
  for (const transport of ['websocket', 'polling']) {
    const connection = await timed(connect(ann, { transports: [transport] }));
    isAccepted(await timed(connection.emit('join_room', { room_id: room.room_id })));
    connection.close();
  }
  return slowest;
}

stories('connections that are held', () => {
  story('leave others served, and end when nothing has come or gone for ten seconds', async (t) => {
    const { url } = flooded;
    const calm = await isServed(url);
    const begun = performance.now();
    const all = Array.from({ length: HELD }, (_, place) => (place % UNREAD ? promising(url) : unread(url)));
    await eventually(() => all.every(({ connected, open }) => connected || !open), 'all of them have connected');
    const connected = performance.now() - begun;
    const during = await isServed(url);
    assert.ok(during < SERVED_MS, `somebody else waited for ${during} ms`);
    // Those who wait for something hear that they are ended; the others do not even read that.
    await eventually(() => all.every((each) => !each.reads || isEnded(each)), 'all who promised are ended', { within: STALLED_MS + SLOW_MS });
    await eventually(async () => {
      const others = Array.from({ length: AGAIN }, () => new Held(url, ATTACKER, `GET /healthz HTTP/1.1\r\n${host(url)}\r\n\r\n`));
      await eventually(() => others.every(({ heard, open }) => heard || !open), 'all of them are answered');
      const again = others.filter(({ heard }) => heard.startsWith('HTTP/1.1 200')).length;
      others.forEach((each) => each.end());
      return again === AGAIN;
    }, 'their address has its places back', { within: STALLED_MS + SLOW_MS });
    const ended = performance.now() - begun;
    const afterwards = await isServed(url);
    const ms = (/** @type {number} */ time) => `${time.toFixed(0)} ms`;
    t.diagnostic(
      `${HELD} connections in ${ms(connected)}; somebody else was served, the slowest step took ${ms(during)} (${ms(calm)} before, ` +
        `${ms(afterwards)} afterwards); all had ended after ${ms(ended)}`,
    );
    all.forEach((each) => each.end());
  });

  story('by sending no body end, whatever was to be done with it', async () => {
    const { url } = tutti;
    const head = (/** @type {string} */ path) => `POST ${path} HTTP/1.1\r\n${host(url)}\r\nContent-Type: application/json\r\n`;
    const held = [
      new Held(url, '127.0.0.1', `${head('/api/v1/auth/login')}Content-Length: 50\r\n\r\n{`),
      new Held(url, '127.0.0.1', `${head('/api/v1/auth/login')}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a"`),
      new Held(url, '127.0.0.1', `${head('/nothing')}Content-Length: 50\r\n\r\n{`),
      new Held(url, '127.0.0.1', `${head('/api/v1/auth/login')}Content-Length: 50\r\n`),
    ];
    for (const each of held) {
      const within = STALLED_MS + SLOW_MS;
      await eventually(() => isEnded(each), `it is ended: ${each.heard}`, { within });
    }
    for (const each of held.slice(0, 2)) assert.match(each.heard, /^HTTP\/1\.1 (400|408) /);
  });

  story('by a slow client live: a body in pieces, an answer read now and then', async () => {
    const { url } = tutti;
    const ann = await register(url, 'ann');
    const form = JSON.stringify({ name: 'A room from far away', is_friends_only: false });
    const head = `POST /api/v1/rooms/create HTTP/1.1\r\n${host(url)}\r\nAuthorization: Bearer ${ann.token}\r\nContent-Type: application/json\r\nConnection: close\r\n`;
    const sender = new Held(url, '127.0.0.1', `${head}Content-Length: ${Buffer.byteLength(form)}\r\n\r\n`);
    const reader = new Held(url, '127.0.0.1', songs(url), false);
    const begun = performance.now();
    const pieces = 5;
    let read = 0;
    // Their pace is what the story is about.
    for (let piece = 0; piece < pieces; piece++) {
      const due = begun + ((piece + 1) * 1.3 * STALLED_MS) / pieces;
      await eventually(() => performance.now() >= due, 'the next piece is due', { within: STALLED_MS });
      assert.ok(sender.open && reader.open, `after ${piece} pieces ${sender.heard}`);
      sender.write(form.slice(Math.ceil((piece * form.length) / pieces), Math.ceil(((piece + 1) * form.length) / pieces)));
      for (const end = read + 500_000; read < end; ) {
        const chunk = reader.socket.read();
        if (chunk) read += chunk.length;
        else await new Promise((resolve) => reader.socket.once('readable', () => resolve(undefined)));
      }
    }
    await sender.closed;
    assert.match(sender.heard, /^HTTP\/1\.1 201 /, sender.heard);
    assert.ok(reader.open);
    reader.end();
  });
});

if (process.env.TUTTI_STORIES_ON === undefined) {
  const few = await serve({ env: { ...unlimited, CONNECTIONS_PER_ADDRESS: '4' } });
  const proxied = await serve({ env: { ...unlimited, CONNECTIONS_PER_ADDRESS: '5', TRUSTED_PROXIES: '1' } });

  stories('connections of one address', () => {
    story('are limited, and whoever has too many is told', async () => {
      const { url } = few;
      const [first, ...others] = Array.from({ length: 4 }, () => new Held(url, '127.0.0.2', ''));
      await eventually(() => [first, ...others].every(({ connected }) => connected), 'four are there');
      const fifth = new Held(url, '127.0.0.2', '');
      await fifth.closed;
      assert.match(fifth.heard, /^HTTP\/1\.1 429 [^]*\r\nretry-after: 10\r\n[^]*"code":"RATE_LIMITED"/);
      assert.equal((await api(url)('GET', '/healthz')).status, 200, 'others are not concerned');
      first.end();
      await eventually(async () => {
        const again = new Held(url, '127.0.0.2', `GET /healthz HTTP/1.1\r\n${host(url)}\r\nConnection: close\r\n\r\n`);
        await again.closed;
        return again.heard.startsWith('HTTP/1.1 200');
      }, 'a place that was given back is free');
      for (const each of others) each.end();
      await eventually(() => /refused a connection.*127\.0\.0\.2/.test(few.stderr()), 'it is in the log');
    });

    story('are given back by those who do not read their answers', async () => {
      const { url } = few;
      const from = '127.0.0.3';
      const unread = Array.from({ length: 4 }, () => new Held(url, from, songs(url), false));
      await eventually(() => unread.every(({ connected }) => connected), 'four are there');
      await eventually(async () => {
        const others = Array.from({ length: 4 }, () => new Held(url, from, `GET /healthz HTTP/1.1\r\n${host(url)}\r\nConnection: close\r\n\r\n`));
        await Promise.all(others.map(({ closed }) => closed));
        return others.every(({ heard }) => heard.startsWith('HTTP/1.1 200'));
      }, 'all four places are free again', { within: STALLED_MS + SLOW_MS });
    });

    story('are counted by whom a trusted proxy names, WebSockets and sessions that poll as long as they live', async () => {
      const { url } = proxied;
      const ann = await register(url, 'ann');
      const from = (/** @type {string} */ address) => ({ extraHeaders: { 'x-forwarded-for': `6.6.6.6, ${address}` } });
      const call = (/** @type {string} */ address) =>
        api(url)('GET', '/api/v1/auth/me', { token: ann.token, headers: { 'x-forwarded-for': `6.6.6.6, ${address}` } });
      const connections = [];
      for (const [place, transport] of ['websocket', 'polling', 'websocket', 'polling'].entries()) {
        const address = transport === 'polling' ? `2001:db8:0:1::${place}` : '192.0.2.1';
        connections.push(await connect(ann, { transports: [transport], ...from(address) }));
      }
      for (let more = 0; more < 3; more++) connections.push(await connect(ann, from('192.0.2.1')));
      isProblem(await call('192.0.2.1'), 429, 'RATE_LIMITED');
      assert.equal((await call('192.0.2.2')).status, 200);
      // Two sessions, each with a poll that waits; the place that was left for what they say at times is taken as well.
      connections.push(await connect(ann, { transports: ['websocket'], ...from('2001:db8:0:1::5') }));
      await eventually(async () => (await call('2001:db8:0:1:ffff::1')).status === 429, 'the /64 has all its connections');
      assert.equal((await call('2001:db8:0:2::1')).status, 200);
      for (const connection of connections) connection.close();
      for (const address of ['192.0.2.1', '2001:db8:0:1::1']) {
        await eventually(async () => (await call(address)).status === 200, `${address} gets its connections back`);
      }
    });
  });
}
