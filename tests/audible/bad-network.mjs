// A line that is late and uneven, for any TCP. Bytes never overtake each other, as in TCP they do not.

import { connect, createServer } from 'node:net';
import { seededRandom } from '../client/support.mjs';

/**
 * @typedef {object} Line one direction
 * @property {number} [delayMs]
 * @property {number} [jitterMs] more or less by up to this
 */

/**
 * @param {number} port of the server
 * @param {{ up?: Line, down?: Line, seed?: number }} line
 * @returns {Promise<{ port: number, cut: () => void, mend: () => void, close: () => void }>} while it is cut nothing comes through
 */
export async function badNetwork(port, { up = {}, down = {}, seed = 1 }) {
  const random = seededRandom(seed);
  /** @type {Set<import('node:net').Socket>} */
  const ends = new Set();
  let isCut = false;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (isCut) return void near.destroy();
    const far = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    for (const end of [near, far]) {
      ends.add(end);
      end.setNoDelay(true);
      end.on('error', () => { near.destroy(); far.destroy(); });
      end.on('close', () => ends.delete(end));
    }
    carry(near, far, up, random);
    carry(far, near, down, random);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  const breakAll = () => { for (const end of [...ends]) end.destroy(); };
  return {
    port: address.port,
    cut() {
      isCut = true;
      breakAll();
    },
    mend() { isCut = false; },
    close() {
      server.close();
      breakAll();
    },
  };
}

/**
 * @param {import('node:net').Socket} from
 * @param {import('node:net').Socket} to
 * @param {Line} line
 * @param {() => number} random
 */
function carry(from, to, { delayMs = 0, jitterMs = 0 }, random) {
  /** @type {{ due: number, chunk: Buffer | null }[]} */
  const queue = [];
  let last = 0;
  let running = false;
  const run = () => {
    while (queue.length && queue[0].due <= performance.now()) {
      const { chunk } = /** @type {typeof queue[0]} */ (queue.shift());
      if (to.destroyed) continue;
      if (chunk) to.write(chunk);
      else to.end();
    }
    running = queue.length > 0;
    if (running) setTimeout(run, Math.max(0, queue[0].due - performance.now()));
  };
  /** @param {Buffer | null} chunk null for the end */
  const push = (chunk) => {
    last = Math.max(last, performance.now() + delayMs + (random() * 2 - 1) * jitterMs);
    queue.push({ due: last, chunk });
    if (!running) run();
  };
  from.on('data', push);
  from.on('end', () => push(null));
}
