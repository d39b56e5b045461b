// How well `<audio>` will know its place in a file, in a browser that takes no MP3 frames one by one.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { Mp3Stream } from '../../static/player/mp3-stream.js';

const PAGE = 'http://tutti.test/';
const element = /** @type {any} */ (null);

/**
 * @param {import('node:test').TestContext} t
 * @param {Uint8Array} file
 * @param {{ status?: number, sized?: boolean }} [options] what is not sized has no end that is known
 */
async function place(t, file, { status = 200, sized = true } = {}) {
  Object.assign(globalThis, { location: new URL(PAGE) });
  const server = createServer((_request, response) => {
    response.writeHead(status, sized ? { 'content-length': file.length } : {});
    response.write(file);
    if (sized) response.end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return Mp3Stream.open(element, `http://127.0.0.1:${port}/song.mp3`, new AbortController().signal, () => undefined);
}

/** @param {number[]} header @param {number} size @param {number} count */
function frames(header, size, count) {
  const frame = Buffer.alloc(size, 0x55);
  frame.set(header);
  return Buffer.concat(Array.from({ length: count }, () => frame));
}

const MP3 = frames([0xff, 0xfb, 0x90, 0x64], 417, 300);

test('in an MP3 file, and in AAC without a container, places are guessed', async (t) => {
  assert.equal(await place(t, MP3), 'rough');
  const adts = frames([0xff, 0xf1, 0x50, 0x80, 0x0d, 0x1f, 0xfc], 104, 1000);
  assert.equal(await place(t, adts), 'rough');
  assert.equal(await place(t, Buffer.concat([Buffer.from([0x49, 0x44, 0x33, 4, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]), adts])), 'rough');
});

test('in what tells the time of its parts, they are not', async (t) => {
  for (const beginning of ['RIFF', 'OggS', 'fLaC', '\0\0\0\x20ftypM4A ', '\x1a\x45\xdf\xa3']) {
    assert.equal(await place(t, Buffer.concat([Buffer.from(beginning, 'latin1'), MP3])), 'exact', beginning);
  }
});

test('of a station, and of what is not there, nothing is said', async (t) => {
  assert.equal(await place(t, MP3, { sized: false }), 'exact');
  assert.equal(await place(t, MP3, { status: 404 }), 'exact');
});

test('of what no page may read the name has to tell', async (t) => {
  const { fetch } = globalThis;
  Object.assign(globalThis, { location: new URL(PAGE), fetch: () => Promise.reject(new TypeError('CORS')) });
  t.after(() => Object.assign(globalThis, { fetch }));
  const open = (/** @type {string} */ name) => Mp3Stream.open(element, `https://songs.test/${name}`, new AbortController().signal, () => undefined);
  for (const name of ['a.wav', 'a.FLAC?token=1', 'a/b.m4a']) assert.equal(await open(name), 'exact', name);
  for (const name of ['a.mp3', 'a.aac', 'stream?id=5', 'a.wav/listen']) assert.equal(await open(name), 'rough', name);
});
