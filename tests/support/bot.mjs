// A bot on somebody else's Socket.IO client: a program that is steered and heard line by line (tests/clients).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DEADLINE_MS, withDeadline } from './eventually.mjs';
import { endWithUs, REPOSITORY } from './program.mjs';

/** scripts/test makes these. */
const COMMANDS = {
  'python-socketio': [join(REPOSITORY, 'target/python/bin/python'), join(REPOSITORY, 'tests/clients/python/bot.py')],
  rust_socketio: [join(REPOSITORY, 'target/clients/debug/tutti-rust-bot')],
};

/** @typedef {keyof typeof COMMANDS} Library */

export class Bot {
  /** What has come and was not taken yet. @type {[string, any][]} */
  inbox = [];
  /** All that has come. @type {[string, any][]} */
  log = [];
  #said = '';
  /** @type {Set<() => void>} */
  #waiting = new Set();
  #isOver = false;

  /** @param {Library} library @param {string} url @param {string} transports @param {string} token */
  constructor(library, url, transports, token) {
    const [command, ...args] = COMMANDS[library];
    assert.ok(existsSync(command), `${command} is not there: scripts/test stories makes it`);
    const child = spawn(command, [...args, url, transports], { env: { PATH: process.env.PATH, HOME: process.env.HOME, TOKEN: token }, stdio: 'pipe' });
    const forget = endWithUs({ end: () => child.kill('SIGKILL') });
    this.child = child;
    /** @type {Promise<number | null>} */
    this.ended = new Promise((resolve) => child.once('close', (code) => {
      forget();
      this.#isOver = true;
      this.#look();
      resolve(code);
    }));
    child.stderr.on('data', (text) => (this.#said += text));
    // It may be gone already.
    child.stdin.on('error', () => {});
    createInterface({ input: child.stdout }).on('line', (line) => {
      const arrival = JSON.parse(line);
      this.log.push(arrival);
      this.inbox.push(arrival);
      this.#look();
    });
  }

  #look() {
    for (const look of [...this.#waiting]) look();
  }

  /** @param {unknown} order */
  #tell(order) {
    this.child.stdin.write(`${JSON.stringify(order)}\n`);
  }

  /** The earliest of its kind that was not taken yet. @param {string} event @returns {Promise<any>} its payload */
  next(event) {
    /** @type {() => void} */
    let look = () => {};
    const shown = () => `${this.log.map((each) => JSON.stringify(each).slice(0, 200)).join('\n')}\n${this.#said}`;
    /** @type {Promise<any>} */
    const found = new Promise((resolve, reject) => {
      look = () => {
        const place = this.inbox.findIndex(([name]) => name === event);
        if (place < 0 && !this.#isOver) return;
        // At once: what comes next is for the next one who waits.
        this.#waiting.delete(look);
        if (place >= 0) resolve(this.inbox.splice(place, 1)[0][1]);
        else reject(new Error(`the bot ended before ${event}\n${shown()}`));
      };
      this.#waiting.add(look);
      look();
    });
    return withDeadline(found, DEADLINE_MS, () => new Error(`no ${event}\n${shown()}`)).finally(() => this.#waiting.delete(look));
  }

  /** Calls, and waits for the acknowledgement. @param {string} event @param {unknown} payload */
  call(event, payload) {
    this.#tell({ call: [event, payload] });
    return this.next('*answer');
  }

  /** So many at once. @param {number} pings */
  ping(pings) {
    this.#tell({ pings });
  }

  /** Disconnects, and ends. */
  async end() {
    this.#tell({ end: true });
    this.child.stdin.end();
    assert.equal(await withDeadline(this.ended, DEADLINE_MS, () => new Error(`the bot does not end\n${this.#said}`)), 0, this.#said);
  }
}
