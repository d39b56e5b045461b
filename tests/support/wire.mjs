// A wire between two servers that can be cut, delayed, or go dead; and that can lose, double and swap what Redis
// publishes.

import { connect, createServer } from 'node:net';
import { freePort } from './program.mjs';

/**
 * What to do with the published messages that come along: what is returned goes on in their place.
 * @typedef {(message: Buffer) => Buffer[]} Meddle
 */

/** Forwards a port of its own to another one of this machine. */
export class Wire {
  /** @type {'whole' | 'cut' | 'dead'} */
  #state = 'whole';
  #delayMs = 0;
  /** @type {Meddle | undefined} */
  #meddle;
  /** What `near` says once, and what `far` understands. @type {{said: string, understood: string} | undefined} */
  #misheard;
  /** @type {Set<import('node:net').Socket>} */
  #ends = new Set();
  /** @type {import('node:net').Server} */
  #server;

  /** @param {number} target @param {number} port */
  constructor(target, port) {
    this.target = target;
    this.port = port;
    this.#server = createServer({ allowHalfOpen: true }, (near) => this.#join(near));
  }

  /** @param {number} target */
  static async open(target) {
    const wire = new Wire(target, await freePort());
    await wire.#listen();
    return wire;
  }

  async close() {
    for (const end of this.#ends) end.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Both ends are told, and whoever tries again is refused. */
  async cut() {
    this.#state = 'cut';
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const end of this.#ends) end.resetAndDestroy();
    await closed;
  }

  /** Nothing gets through any more, and nobody is told; who tries again is swallowed as well. */
  goDead() {
    this.#state = 'dead';
    for (const end of this.#ends) end.pause();
  }

  /** Everything takes so much longer, each way. @param {number} ms */
  delay(ms) {
    this.#delayMs = ms;
  }

  /** @param {Meddle | undefined} meddle */
  meddle(meddle) {
    this.#meddle = meddle;
  }

  /**
   * The next time `said` comes along towards the server, it arrives as `understood`, which is as long.
   * @param {string} said @param {string} understood
   */
  mishear(said, understood) {
    this.#misheard = { said, understood };
  }

  /** Whether something is still to be misheard. */
  get isMishearing() {
    return this.#misheard !== undefined;
  }

  /** Whole again. What was on a dead wire arrives now, as it would on a real one. */
  async mend() {
    const before = this.#state;
    this.#state = 'whole';
    this.#delayMs = 0;
    this.#meddle = undefined;
    this.#misheard = undefined;
    if (before === 'cut') await this.#listen();
    for (const end of this.#ends) end.resume();
  }

  async #listen() {
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.port, '127.0.0.1', () => resolve(undefined));
    });
    // It must not keep a test process alive.
    this.#server.unref();
  }

  /** @param {import('node:net').Socket} near */
  #join(near) {
    const far = connect({ host: '127.0.0.1', port: this.target, allowHalfOpen: true });
    this.#forward(near, far, () => undefined, true);
    this.#forward(far, near, () => this.#meddle, false);
  }

  /**
   * @param {import('node:net').Socket} from
   * @param {import('node:net').Socket} to
   * @param {() => Meddle | undefined} meddle
   * @param {boolean} isForth towards the server
   */
  #forward(from, to, meddle, isForth) {
    this.#ends.add(from);
    from.setNoDelay(true);
    from.unref();
    /** @type {Frames | undefined} */
    let frames;
    // What is on its way: nothing overtakes what came before it, whatever becomes of the delay.
    /** @type {{due: number, act: () => void}[]} */
    const underWay = [];
    const arrive = () => {
      while (underWay.length > 0 && underWay[0].due <= performance.now()) underWay.shift()?.act();
      if (underWay.length > 0) setTimeout(arrive, underWay[0].due - performance.now());
    };
    const later = (/** @type {() => void} */ act) => {
      if (this.#delayMs === 0 && underWay.length === 0) return act();
      underWay.push({ due: performance.now() + this.#delayMs, act });
      if (underWay.length === 1) arrive();
    };
    from.on('data', (/** @type {Buffer} */ chunk) => {
      if (isForth && this.#misheard) {
        const { said, understood } = this.#misheard;
        const at = chunk.indexOf(said);
        if (at >= 0) {
          chunk.write(understood, at);
          this.#misheard = undefined;
        }
      }
      const change = meddle();
      // Once begun it stays: the rest of a frame may be in the next chunk.
      if (change) frames ??= new Frames();
      const parts = frames ? frames.take(chunk).flatMap((frame) => (change && isMessage(frame) ? change(frame) : [frame])) : [chunk];
      for (const part of parts) later(() => to.write(part));
    });
    from.on('end', () => later(() => to.end()));
    // Without a handler, a reset by either side would end this process.
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#ends.delete(from);
      if (from.errored) to.destroy();
    });
    if (this.#state === 'dead') from.pause();
  }
}

/** Cuts what a Redis sends into its frames, RESP2 and RESP3. */
export class Frames {
  #rest = Buffer.alloc(0);

  /** @param {Buffer} chunk @returns {Buffer[]} those that are whole by now */
  take(chunk) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const whole = [];
    for (let end = frameEnd(this.#rest, 0); end > 0; end = frameEnd(this.#rest, 0)) {
      whole.push(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end);
    }
    return whole;
  }
}

/** @param {Buffer} bytes @param {number} begin @returns {number} where the frame ends, or -1 if that is still to come */
function frameEnd(bytes, begin) {
  const line = bytes.indexOf('\r\n', begin);
  if (line < 0) return -1;
  const end = line + 2;
  const kind = String.fromCharCode(bytes[begin]);
  const size = Number(bytes.toString('latin1', begin + 1, line));
  if ('$!='.includes(kind)) {
    if (size < 0) return end;
    return end + size + 2 <= bytes.length ? end + size + 2 : -1;
  }
  if ('*>~%|'.includes(kind)) {
    let at = end;
    // An attribute is followed by what it is about.
    const members = '%|'.includes(kind) ? 2 * size + (kind === '|' ? 1 : 0) : size;
    for (let each = 0; each < members; each++) {
      at = frameEnd(bytes, at);
      if (at < 0) return -1;
    }
    return at;
  }
  return end;
}

/** @param {Buffer} frame */
function isMessage(frame) {
  return /^[*>]3\r\n\$\d\r\ns?message\r\n/.test(frame.toString('latin1', 0, 24));
}
