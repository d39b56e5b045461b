// A WebSocket client that can do what the protocol forbids: it writes bytes, and reads frames to the letter.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { DEADLINE_MS, withDeadline } from './eventually.mjs';

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** From RFC 6455, section 1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const BLANK_LINE = '\r\n\r\n';
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** The headers of a good handshake. */
export const HANDSHAKE = {
  Host: 'tutti.example',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Version': '13',
};

/**
 * A frame as a client sends it.
 * @param {number} opcode
 * @param {string | Uint8Array} [payload]
 * @param {object} [how] where it is to be other than it should
 * @param {boolean} [how.isLast]
 * @param {number} [how.reserved] the three reserved bits, 0 to 7
 * @param {number[] | null} [how.mask] null for none
 * @param {7 | 16 | 64} [how.lengthBits] the shortest that can hold the length, where left out
 * @param {bigint} [how.length] what it says its length is
 */
export function frame(opcode, payload = '', { isLast = true, reserved = 0, mask = [0x37, 0xfa, 0x21, 0x3d], lengthBits, length } = {}) {
  const bytes = Buffer.from(payload);
  const said = length ?? BigInt(bytes.length);
  const bits = lengthBits ?? (said <= 125n ? 7 : said <= 0xffffn ? 16 : 64);
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10);
  head[0] = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (bits === 7 ? Number(said) : bits === 16 ? 126 : 127);
  if (bits === 16) head.writeUInt16BE(Number(said), 2);
  if (bits === 64) head.writeBigUInt64BE(said, 2);
  if (!mask) return Buffer.concat([head, bytes]);
  return Buffer.concat([head, Buffer.from(mask), bytes.map((byte, place) => byte ^ mask[place % 4])]);
}

/** The payload of a close frame. @param {number} code @param {string | Uint8Array} [reason] */
export function farewell(code, reason = '') {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(code);
  return Buffer.concat([bytes, Buffer.from(reason)]);
}

/** @typedef {{opcode: number, payload: Buffer, text: string}} Frame */

export class RawWebSocket {
  /** What has come and was not read yet. */
  #rest = Buffer.alloc(0);
  /** @type {Error | undefined} */
  #broken;
  #isOver = false;
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {string} url */
  constructor(url) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (chunk) => this.#change(() => (this.#rest = Buffer.concat([this.#rest, chunk]))));
    this.socket.on('end', () => this.#change(() => (this.#isOver = true)));
    // A reset ends it as well; what came before can still be read.
    this.socket.on('error', (error) => this.#change(() => ((this.#broken = error), (this.#isOver = true))));
  }

  /**
   * Sends a handshake, and with it what `first` is.
   * @param {string} url
   * @param {string} [query]
   * @param {{headers?: Record<string, string | string[] | undefined>, version?: string, method?: string, first?: Uint8Array}} [how]
   */
  static async ask(url, query = 'EIO=4&transport=websocket', { headers = {}, version = '1.1', method = 'GET', first = Buffer.alloc(0) } = {}) {
    const client = new RawWebSocket(url);
    const all = Object.entries({ ...HANDSHAKE, Host: new URL(url).host, ...headers });
    const lines = all.flatMap(([name, value]) => [value ?? []].flat().map((each) => `${name}: ${each}\r\n`));
    client.write(Buffer.concat([Buffer.from(`${method} /socket.io/?${query} HTTP/${version}\r\n${lines.join('')}\r\n`), first]));
    const head = await client.#take((bytes) => (bytes.includes(BLANK_LINE) ? bytes.indexOf(BLANK_LINE) + BLANK_LINE.length : undefined), 'an answer');
    const [status, ...rest] = (head ?? Buffer.from('')).toString('latin1').split('\r\n');
    client.status = Number(status.split(' ')[1]);
    client.headers = new Map(rest.filter(Boolean).map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    return client;
  }

  /** A WebSocket that stands. @param {Parameters<typeof RawWebSocket.ask>} how */
  static async open(...how) {
    const client = await RawWebSocket.ask(...how);
    assert.equal(client.status, 101);
    assert.equal(client.headers?.get('sec-websocket-accept'), createHash('sha1').update(KEY + ACCEPT_SUFFIX).digest('base64'));
    return client;
  }

  /** @param {Uint8Array} bytes */
  write(bytes) {
    if (this.socket.writable) this.socket.write(bytes);
  }

  /** @param {number} opcode @param {string | Uint8Array} [payload] @param {Parameters<typeof frame>[2]} [how] */
  send(opcode, payload, how) {
    this.write(frame(opcode, payload, how));
  }

  /** @param {string} text */
  say(text) {
    this.send(TEXT, text);
  }

  /** The next frame, which is one as servers send it; undefined at the end of the connection. @returns {Promise<Frame | undefined>} */
  async next() {
    const bytes = await this.#take((bytes) => frameLength(bytes), 'a frame');
    if (!bytes) return undefined;
    assert.equal(bytes[0] & 0x70, 0, 'reserved bits');
    assert.ok(bytes[0] & 0x80, 'a server has no reason for fragments');
    const opcode = bytes[0] & 0x0f;
    assert.ok([TEXT, BINARY, CLOSE, PING, PONG].includes(opcode), `opcode ${opcode}`);
    const payload = bytes.subarray(bytes[1] < 126 ? 2 : bytes[1] === 126 ? 4 : 10);
    assert.ok(bytes[1] < 126 || payload.length > (bytes[1] === 126 ? 125 : 0xffff), 'the shortest length');
    // It throws where that is not UTF-8.
    const text = opcode === TEXT ? new TextDecoder('utf-8', { fatal: true }).decode(payload) : '';
    return { opcode, payload, text };
  }

  /** The next text. */
  async hear() {
    const received = await this.next();
    assert.equal(received?.opcode, TEXT, `a text, not ${received && `${received.opcode} ${received.payload.toString('hex')}`}`);
    return /** @type {Frame} */ (received).text;
  }

  /**
   * All up to the end of the connection, which the server must bring about.
   * @returns {Promise<{code: number | undefined, reason: string, hasClose: boolean, frames: Frame[]}>}
   */
  async end() {
    const frames = [];
    for (let each = await this.next(); each; each = await this.next()) {
      frames.push(each);
      // As clients do. Where it has said good-bye itself, nobody hears this.
      if (each.opcode === CLOSE) this.send(CLOSE, each.payload);
    }
    this.socket.destroy();
    const closes = frames.filter(({ opcode }) => opcode === CLOSE);
    assert.ok(closes.length <= 1 && (closes.length === 0 || frames.at(-1) === closes[0]), 'one close frame, behind all others');
    const [close] = closes;
    const code = close && close.payload.length > 1 ? close.payload.readUInt16BE() : undefined;
    return { code, reason: close?.payload.toString('utf8', 2) ?? '', hasClose: close !== undefined, frames };
  }

  /** Goes without a word. */
  drop() {
    this.socket.destroy();
  }

  /** @param {() => void} change */
  #change(change) {
    change();
    for (const look of [...this.#waiting]) look();
  }

  /**
   * Takes as many bytes as `measure` says, once it says so; undefined where the connection ends before.
   * @param {(bytes: Buffer) => number | undefined} measure @param {string} what
   * @returns {Promise<Buffer | undefined>}
   */
  async #take(measure, what) {
    /** @type {() => void} */
    let look = () => {};
    const length = new Promise((/** @type {(length: number | undefined) => void} */ resolve) => {
      look = () => {
        const found = measure(this.#rest);
        if (found !== undefined || this.#isOver) resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
    const late = () => new Error(`no ${what} within ${DEADLINE_MS} ms; there is ${this.#rest.toString('latin1').slice(0, 200)}`);
    const found = await withDeadline(length, DEADLINE_MS, late).finally(() => this.#waiting.delete(look));
    if (found === undefined) return undefined;
    const taken = this.#rest.subarray(0, found);
    this.#rest = this.#rest.subarray(found);
    return taken;
  }

  /** @type {number | undefined} */
  status;
  /** @type {Map<string, string> | undefined} */
  headers;

  /** What ended it, where that was no end in order. */
  get broken() {
    return this.#broken;
  }
}

/** @param {Buffer} bytes @returns {number | undefined} undefined where it is not whole */
function frameLength(bytes) {
  if (bytes.length < 2) return undefined;
  assert.equal(bytes[1] & 0x80, 0, 'servers do not mask');
  const head = bytes[1] < 126 ? 2 : bytes[1] === 126 ? 4 : 10;
  if (bytes.length < head) return undefined;
  const length = head === 2 ? bytes[1] : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return head + length <= bytes.length ? head + length : undefined;
}
