// A host of pictures that is not Tutti, good ones and all that may go wrong, and what it was asked for.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { join } from 'node:path';
import { crc32, deflateSync, gzipSync } from 'node:zlib';

/** The smallest of their kind. */
const TINY = {
  'a.jpeg':
    '/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=',
  'a.gif': 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7',
  'a.webp': 'UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA',
  'a.avif':
    'AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAAB0AAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAAAIAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQ0MAAAAABNjb2xybmNseAACAAIAAYAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACVtZGF0EgAKCBgANogQEAwgMg8f8D///8WfhwB8+ErK42A=',
};

/** @param {string} type @param {Buffer} data */
function chunk(type, data) {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(typed), 4);
  return Buffer.concat([ends.subarray(0, 4), typed, ends.subarray(4)]);
}

/**
 * A PNG of one colour.
 * @param {number} [side] pixels @param {number[]} [colour] red, green and blue, 0 to 255
 */
export function png(side = 8, colour = [220, 40, 60]) {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  const row = Buffer.from([0, ...Array(side).fill(colour).flat()]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const rows = deflateSync(Buffer.concat(Array(side).fill(row)));
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}

/** A header that promises so many pixels a side, and nothing behind it. @param {number} side */
function hugePng(side) {
  const picture = Buffer.from(png());
  picture.writeUInt32BE(side, 16);
  picture.writeUInt32BE(side, 20);
  return picture;
}

const MIB = 1024 * 1024;
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><script>alert(1)</script></svg>';

/** @typedef {import('node:http').ServerResponse} Response */

/** @type {Record<string, (response: Response, elsewhere: string) => void>} */
const PATHS = {
  '/a.png': (response) => response.end(png()),
  '/a.jpeg': (response) => response.end(Buffer.from(TINY['a.jpeg'], 'base64')),
  '/a.gif': (response) => response.end(Buffer.from(TINY['a.gif'], 'base64')),
  '/a.webp': (response) => response.end(Buffer.from(TINY['a.webp'], 'base64')),
  '/a.avif': (response) => response.end(Buffer.from(TINY['a.avif'], 'base64')),
  '/called-html.png': (response) => response.setHeader('content-type', 'text/html').end(png()),
  '/5-mib.png': (response) => response.end(Buffer.concat([png(), Buffer.alloc(5 * MIB - png().length)])),
  '/svg.png': (response) => response.setHeader('content-type', 'image/png').end(SVG),
  '/page.png': (response) => response.setHeader('content-type', 'image/png').end('<!doctype html><script>alert(1)</script>'),
  '/empty.png': (response) => response.setHeader('content-type', 'image/png').end(),
  '/huge.png': (response) => response.end(hugePng(20_000)),
  '/6-mib.png': (response) => response.end(Buffer.concat([png(), Buffer.alloc(6 * MIB)])),
  '/6-mib-unsaid.png': (response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' });
    response.end(Buffer.concat([png(), Buffer.alloc(6 * MIB)]));
  },
  '/endless.png': (response) => {
    const block = Buffer.alloc(256 * 1024);
    const more = () => {
      while (!response.destroyed && response.write(block)) { /* until it is full */ }
    };
    response.on('drain', more).on('error', () => undefined);
    response.write(png());
    more();
  },
  '/bomb.png': (response) => {
    response.setHeader('content-encoding', 'gzip').end(gzipSync(Buffer.concat([png(), Buffer.alloc(20 * MIB)])));
  },
  '/breaks-off.png': (response) => {
    response.setHeader('content-length', 1000).write(png().subarray(0, 20), () => response.destroy());
  },
  '/drip.png': (response) => {
    const drops = [...png()];
    const timer = setInterval(() => response.write(Buffer.from([drops.shift() ?? 0])), 200);
    response.on('close', () => clearInterval(timer)).on('error', () => undefined);
  },
  '/hangs.png': () => undefined,
  '/gone.png': (response) => response.writeHead(410).end(png()),
  '/broken.png': (response) => response.writeHead(500).end(png()),
  '/moved.png': (response) => response.writeHead(302, { location: '/a.png' }).end(),
  '/for-ever.png': (response) => response.writeHead(302, { location: '/for-ever.png' }).end(),
  '/to-another.png': (response, elsewhere) => response.writeHead(301, { location: `${elsewhere}/a.png` }).end(),
  '/to-ftp.png': (response) => response.writeHead(302, { location: 'ftp://127.0.0.1/a.png' }).end(),
};

/**
 * A certificate for 127.0.0.1 that nobody trusts who is not told to.
 * @param {string} folder @param {string} name
 */
export function certificate(folder, name) {
  const [keyFile, certFile] = [join(folder, `${name}-key.pem`), join(folder, `${name}.pem`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...subject, ...key, '-out', certFile], { stdio: 'ignore' });
  return { certFile, key: readFileSync(keyFile), cert: readFileSync(certFile) };
}

/**
 * Starts one on a port of its own.
 * @param {{elsewhere?: string, tls?: {key: Buffer, cert: Buffer}}} [options] where `/to-another.png` leads; what it serves https with
 */
export async function startPictureHost({ elsewhere = '', tls } = {}) {
  /** @type {import('node:http').IncomingMessage[]} */
  const asked = [];
  let connections = 0;
  /** @type {import('node:http').RequestListener} */
  const serve = (request, response) => {
    asked.push(request);
    const path = new URL(request.url ?? '/', 'http://host').pathname;
    const answer = PATHS[path];
    if (answer) answer(response, elsewhere);
    else response.writeHead(404).end();
  };
  const server = tls ? createSecureServer(tls, serve) : createServer(serve);
  server.on('connection', () => (connections += 1));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    port,
    /** Its address and a path there. @param {string} path */
    at: (path) => `${tls ? 'https' : 'http'}://127.0.0.1:${port}${path}`,
    /** How often anybody connected to it. */
    connections: () => connections,
    /** What was asked for at a path, query included. @param {string} path */
    askedFor: (path) => asked.filter(({ url }) => url === path),
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}
