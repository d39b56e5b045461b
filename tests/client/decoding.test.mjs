import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { decodeSong } from '../../static/player/decoding.js';
import { NotDecodable } from '../../static/player/player.js';
import { flacOfSilence, wavHeader } from './files.mjs';

const SECONDS = 100;
const BYTES_A_SECOND = 20_000;
/** Of one channel of 16 bits: so many bytes are a second. */
const file = Buffer.alloc(SECONDS * BYTES_A_SECOND, 7);
wavHeader(BYTES_A_SECOND / 2, 1, file.length).copy(file);

/**
 * A song of 100 s that comes in pieces, each when it is let go.
 * @param {import('node:test').TestContext} t
 * @param {{ status?: number }} [options]
 */
async function place(t, { status = 200 } = {}) {
  /** @type {import('node:http').ServerResponse | undefined} */
  let answer;
  /** @type {() => void} */
  let asked = () => undefined;
  const isAsked = new Promise((resolve) => { asked = () => resolve(undefined); });
  const server = createServer((_request, response) => {
    answer = response.writeHead(status, { 'content-length': file.length });
    response.flushHeaders();
    asked();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    song: { title: 'Known', artists: [], duration: SECONDS, audio_url: `http://127.0.0.1:${port}/song` },
    /** @param {number} from @param {number} to seconds */
    async send(from, to) {
      await isAsked;
      answer?.write(file.subarray(from * BYTES_A_SECOND, to * BYTES_A_SECOND));
    },
    async breakOff() {
      await isAsked;
      answer?.destroy();
    },
  };
}

/** @param {{ refusesParts?: boolean, bytesASecond?: number }} [options] */
function decoder({ refusesParts = false, bytesASecond = BYTES_A_SECOND } = {}) {
  /** @type {number[]} */
  const decoded = [];
  return {
    decoded,
    sampleRate: 48_000,
    /** @param {ArrayBuffer} data @returns {Promise<AudioBuffer>} */
    async decodeAudioData(data) {
      if (refusesParts && data.byteLength < file.length) throw new DOMException('unable to decode', 'EncodingError');
      decoded.push(data.byteLength);
      return /** @type {any} */ ({ duration: data.byteLength / bytesASecond });
    },
  };
}

test('the beginning is there when its bytes are, and says how long the whole lasts', async (t) => {
  const { song, send } = await place(t);
  const { beginning, whole } = decodeSong(song, decoder());
  await send(0, 20);
  const { buffer, duration } = await beginning;
  assert.equal(duration, SECONDS);
  assert.ok(buffer.duration >= 2 && buffer.duration <= 20, `${buffer.duration} s`);
  await send(20, SECONDS);
  assert.equal((await whole).duration, SECONDS);
});

test('where a part cannot be decoded, the whole is the beginning', async (t) => {
  const { song, send } = await place(t);
  const { beginning, whole } = decodeSong(song, decoder({ refusesParts: true }));
  await send(0, 20);
  await send(20, SECONDS);
  assert.equal((await beginning).buffer, await whole);
});

test('a song that breaks off is not decodable, though its beginning was', async (t) => {
  const { song, send, breakOff } = await place(t);
  const { beginning, whole } = decodeSong(song, decoder());
  await send(0, 20);
  await beginning;
  await breakOff();
  await assert.rejects(whole, NotDecodable);
});

test('a line on which the rest would come too late waits for more', async (t) => {
  const { song, send } = await place(t);
  const { beginning, whole } = decodeSong(song, decoder());
  await send(0, 1);
  // The line is this slow: 1 s of music took half a second.
  await new Promise((resolve) => { setTimeout(resolve, 500); });
  await send(1, 8);
  const early = await Promise.race([beginning, new Promise((resolve) => { setTimeout(resolve, 200, 'none'); })]);
  assert.equal(early, 'none');
  await send(8, SECONDS);
  assert.equal((await whole).duration, SECONDS);
  assert.ok((await beginning).buffer.duration > 8);
});

test('who comes in later than the beginning is given the whole', async (t) => {
  const { song, send } = await place(t);
  const context = decoder();
  const { beginning, whole } = decodeSong(song, context, 30);
  await send(0, SECONDS);
  assert.equal((await beginning).buffer, await whole);
  assert.deepEqual(context.decoded, [file.length]);
});

test('how long a song lasts is known from its beginning', async (t) => {
  const { song, send } = await place(t);
  const { beginning } = decodeSong({ ...song, duration: undefined }, decoder());
  await send(0, 20);
  assert.equal((await beginning).duration, SECONDS);
});

test('what turns out to be too long is given up', async (t) => {
  const { song, send } = await place(t);
  const { beginning, whole } = decodeSong({ ...song, duration: undefined }, decoder({ bytesASecond: 2000 }));
  await send(0, 20);
  await assert.rejects(whole, NotDecodable);
  await assert.rejects(beginning, NotDecodable);
});

test('what is too long to be decoded is not begun either', async (t) => {
  const { song } = await place(t);
  const context = decoder();
  const { beginning, whole } = decodeSong({ ...song, duration: 3600 }, context);
  await assert.rejects(beginning, NotDecodable);
  await assert.rejects(whole, NotDecodable);
  assert.deepEqual(context.decoded, []);
});

test('what is not there is not decodable', async (t) => {
  const { song, send } = await place(t, { status: 404 });
  const { beginning } = decodeSong(song, decoder());
  await send(0, SECONDS);
  await assert.rejects(beginning, NotDecodable);
});

/**
 * A server of a file that gives out what `answer` says.
 * @param {import('node:test').TestContext} t
 * @param {Buffer} bytes
 * @param {(from: number) => { status: number, to: number, headers?: import('node:http').OutgoingHttpHeaders, breaks?: boolean }} answer
 */
async function serverOf(t, bytes, answer) {
  /** @type {number[]} */
  const asked = [];
  const server = createServer((request, response) => {
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    asked.push(from);
    const { status, to, headers, breaks } = answer(from);
    const range = status === 206 ? { 'content-range': `bytes ${from}-${to - 1}/${bytes.length}` } : {};
    response.writeHead(status, { 'content-length': (breaks ? bytes.length : to) - from, ...range, ...headers });
    response.write(bytes.subarray(from, to), () => { if (breaks) response.destroy(); else response.end(); });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { asked, song: { title: 'Known', artists: [], duration: 100, audio_url: `http://127.0.0.1:${port}/song` } };
}

const QUARTER = file.length / 4;

test('of a server that gives out parts, all parts are asked for', async (t) => {
  const { asked, song } = await serverOf(t, file, (from) => ({ status: 206, to: Math.min(file.length, from + QUARTER) }));
  const context = decoder();
  const { whole } = decodeSong(song, context, 30);
  assert.equal((await whole).duration, SECONDS);
  assert.deepEqual(context.decoded, [file.length]);
  assert.deepEqual(asked, [0, QUARTER, 2 * QUARTER, 3 * QUARTER]);
});

test('where the connection breaks, what is missing is asked for', async (t) => {
  const { asked, song } = await serverOf(t, file, (from) => (from
    ? { status: 206, to: file.length } : { status: 200, to: QUARTER, breaks: true }));
  assert.equal((await decodeSong(song, decoder(), 30).whole).duration, SECONDS);
  assert.deepEqual(asked, [0, QUARTER]);
});

test('a part is not the song', async (t) => {
  /** @type {Parameters<typeof serverOf>[2][]} */
  const manners = [
    // A part from somewhere, no more than a part, and another file the second time.
    () => ({ status: 206, to: QUARTER, headers: { 'content-range': `bytes 8-${QUARTER + 7}/${file.length}` } }),
    (from) => (from ? { status: 416, to: from } : { status: 206, to: QUARTER }),
    (from) => ({ status: 206, to: Math.min(file.length, from + QUARTER), headers: { etag: `"${from}"` } }),
    () => ({ status: 206, to: QUARTER, headers: { 'content-range': `bytes */${file.length}` } }),
    // All of it again, where a part was asked for.
    (from) => (from ? { status: 200, to: file.length } : { status: 206, to: QUARTER }),
  ];
  for (const manner of manners) {
    const { song } = await serverOf(t, file, manner);
    await assert.rejects(decodeSong(song, decoder(), 30).whole, NotDecodable, String(manner));
  }
});

test('what would be too large is not decoded, whatever its host and its header say', async (t) => {
  // 35 kB of it are 22 minutes of eight channels: 2.1 GB.
  const bomb = flacOfSilence({ channels: 8, frames: 1000, declaredSamples: 48_000 });
  for (const from of [0, 30]) {
    const { song } = await serverOf(t, bomb, () => ({ status: 200, to: bomb.length }));
    const context = decoder();
    const { beginning, whole } = decodeSong({ ...song, duration: 1 }, context, from);
    await assert.rejects(whole, NotDecodable);
    await assert.rejects(beginning, NotDecodable);
    assert.deepEqual(context.decoded, []);
  }
});

test('what cannot be counted is not decoded', async (t) => {
  const { song } = await serverOf(t, Buffer.alloc(1000, 1), () => ({ status: 200, to: 1000 }));
  const context = decoder();
  await assert.rejects(decodeSong(song, context).whole, NotDecodable);
  assert.deepEqual(context.decoded, []);
});
