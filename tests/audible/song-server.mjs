// A place that songs come from. Without CORS a page may play them, and not read them: then it takes `<audio>`. Who is to do which is
// told by what the browser calls itself.

import { createServer } from 'node:http';
import { wavFile } from './song.mjs';

/** @param {Int16Array[]} songs */
export async function songServer(songs) {
  const files = songs.map(wavFile);
  const server = createServer((request, response) => {
    const file = files[Number(/^\/(\d)\.wav$/.exec(request.url ?? '')?.[1])];
    if (!file) return void response.writeHead(404).end();
    const headers = {
      'content-type': 'audio/wav', 'accept-ranges': 'bytes', 'cache-control': 'no-store',
      ...(request.headers['user-agent']?.includes('webaudio') ? { 'access-control-allow-origin': '*' } : {}),
    };
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
    if (from === undefined) return void response.writeHead(200, { ...headers, 'content-length': file.length }).end(file);
    const end = Math.min(file.length - 1, to ? Number(to) : Infinity);
    const range = `bytes ${from}-${end}/${file.length}`;
    response.writeHead(206, { ...headers, 'content-range': range, 'content-length': end - Number(from) + 1 });
    response.end(file.subarray(Number(from), end + 1));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    /** @param {number} song */
    address: (song) => `http://127.0.0.1:${port}/${song}.wav`,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}
