// A place that songs come from, with the faults that such places have. Without CORS a page may play them, and not read them: then it
// takes `<audio>`. Who is to do which is told by what the browser calls itself.

import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { wavFile } from './song.mjs';

const RADIO_CHUNKS_MS = 100;
/** Stations send what they have kept at once, and from then on as fast as it is heard. */
const RADIO_BURST_S = 3;
const BYTES_S = 96_000;

/**
 * @typedef {'ranges' | 'whole' | 'radio'} Manner `whole`: without byte ranges
 * @typedef {'dead' | 'hanging' | 'page' | number} Trouble all that is asked for ends so: a status, a web page, or nothing at all
 */

/** How a song is written down: `bare` is without a note of how long it is. @typedef {'wav' | 'xing.mp3' | 'bare.mp3'} Kind */

/** @param {Buffer} wav @param {Kind} kind @returns {Buffer} with a bit rate that changes from frame to frame */
function encoded(wav, kind) {
  const { stdout, error } = spawnSync('lame', ['--quiet', '-V4', ...(kind === 'bare.mp3' ? ['-t'] : []), '-', '-'], { input: wav, maxBuffer: 2 ** 28 });
  if (error) throw error;
  return stdout;
}

/** @param {Int16Array[]} songs */
export async function songServer(songs) {
  const files = songs.map(wavFile);
  /** @type {Map<string, Buffer>} */
  const mp3s = new Map();
  /** @param {number} song @param {Kind} kind */
  const fileOf = (song, kind) => {
    if (kind === 'wav') return files[song];
    const key = `${song}.${kind}`;
    const file = mp3s.get(key) ?? encoded(files[song], kind);
    mp3s.set(key, file);
    return file;
  };
  /** @type {Trouble | null} */
  let trouble = null;
  /** @type {import('node:http').IncomingHttpHeaders[]} */
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers);
    const [, manner, song, kind = 'wav'] = /^\/(ranges|whole|radio)\/(\d)\.(wav|xing\.mp3|bare\.mp3)(?:\?|$)/.exec(request.url ?? '') ?? [];
    const file = files[Number(song)] && fileOf(Number(song), /** @type {Kind} */ (kind));
    const cors = request.headers['user-agent']?.includes('webaudio') ? { 'access-control-allow-origin': '*' } : {};
    const headers = { 'content-type': kind === 'wav' ? 'audio/wav' : 'audio/mpeg', 'cache-control': 'no-store', ...cors };
    if (trouble === 'dead') return void request.socket.destroy();
    if (trouble === 'hanging') return;
    if (trouble === 'page') return void response.writeHead(200, { ...cors, 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>');
    if (trouble || !file) return void response.writeHead(trouble ?? 404, cors).end();
    if (manner === 'radio') return sendLive(file, response.writeHead(200, headers));
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
    if (manner === 'whole' || from === undefined) return void response.writeHead(200, { ...headers, 'content-length': file.length }).end(file);
    const end = Math.min(file.length - 1, to ? Number(to) : Infinity);
    const range = `bytes ${from}-${end}/${file.length}`;
    response.writeHead(206, { ...headers, 'accept-ranges': 'bytes', 'content-range': range, 'content-length': end - Number(from) + 1 });
    response.end(file.subarray(Number(from), end + 1));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    host: `127.0.0.1:${port}`,
    /** What a browser has asked for, by what it calls itself. @param {string} agent */
    askedBy: (agent) => asked.filter((headers) => headers['user-agent'] === agent),
    /** @param {number} song @param {Manner} [manner] @param {Kind} [kind] */
    address: (song, manner = 'ranges', kind = 'wav') => `http://127.0.0.1:${port}/${manner}/${song}.${kind}`,
    /** @param {Trouble | null} next */
    suffer(next) {
      trouble = next;
      if (next) server.closeAllConnections();
    },
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

/** What a station plays, which has begun long ago and has no end. @param {Buffer} file @param {import('node:http').ServerResponse} response */
function sendLive(file, response) {
  const head = 44;
  const startedAt = performance.now();
  let sent = 0;
  response.write(file.subarray(0, head));
  const send = () => {
    const due = Math.floor(((performance.now() - startedAt) / 1000 + RADIO_BURST_S) * BYTES_S / 2) * 2;
    const body = file.length - head;
    while (sent < due) {
      const at = sent % body;
      const part = file.subarray(head + at, head + Math.min(body, at + due - sent));
      response.write(part);
      sent += part.length;
    }
  };
  const timer = setInterval(send, RADIO_CHUNKS_MS);
  response.on('close', () => clearInterval(timer));
}
