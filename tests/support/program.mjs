// Programs that tests start: each is ended by its id, at the latest when the process that started it ends,
// however that one ends.

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withDeadline } from './eventually.mjs';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

// The longest promise is a gateway's, DRAIN_TIME and 5 s more; what takes longer is reported, not waited for.
const STOP_MS = 15_000;

/** @type {Set<{end: () => void}>} */
const running = new Set();
/** @type {Set<string>} */
const folders = new Set();

// A failed test, a thrown error and Ctrl-C all end in `exit`, where only synchronous work is done.
process.on('exit', () => {
  for (const each of running) each.end();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Ends this process, and so all it started, when it is told to end. For tests: a program may have better manners. */
export function exitOnSignals() {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
}

/** What is to be ended with this process. @param {{end: () => void}} each @returns {() => void} takes it back */
export function endWithUs(each) {
  running.add(each);
  return () => void running.delete(each);
}

/** A new empty folder that is gone when this process is. */
export function temporaryFolder(name = 'tutti-story') {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`));
  folders.add(folder);
  return folder;
}

/** @param {string} folder */
export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

/** The program under test. */
export function binary() {
  const program = process.env.TUTTI_BIN ?? join(REPOSITORY, 'target', 'debug', 'tutti');
  if (existsSync(program)) return program;
  throw new Error(`${program} is not there: run \`cargo build\` first, or set TUTTI_BIN`);
}

/** The command, for a program that may open so many files. @param {string[]} command @param {number} [files] */
export function withFileLimit(command, files) {
  return files === undefined ? command : ['sh', '-c', 'ulimit -n "$0" && exec "$@"', String(files), ...command];
}

/** @type {Set<number>} */
const given = new Set();

/**
 * A port of 127.0.0.1 that was free a moment ago. It is below those that the system gives to connections, so it is
 * still free when a server that was killed comes back to it.
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    if (given.has(port)) continue;
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (!free) continue;
    given.add(port);
    return port;
  }
}

/**
 * Some servers refuse to be root.
 * @param {string} user who is to run the server, and to own its folder, where root runs the tests
 * @param {string} folder in one of ours
 * @returns {{uid?: number, gid?: number}}
 */
export function unprivileged(user, folder) {
  if (process.getuid?.() !== 0) return {};
  const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
  const identity = { uid: id('-u'), gid: id('-g') };
  chownSync(folder, identity.uid, identity.gid);
  // It may pass through what is around it, and read nothing there.
  chmodSync(dirname(folder), 0o711);
  return identity;
}

/** @typedef {{code: number | null, signal: string | null}} End */

/**
 * @typedef {object} ProgramOptions
 * @property {string} name for messages
 * @property {string[]} command
 * @property {Record<string, string | undefined>} [env] nothing else of ours is passed on
 * @property {string} log the file for what it writes
 * @property {string} [cwd]
 * @property {{uid?: number, gid?: number}} [identity] whose it is, if not ours
 * @property {NodeJS.Signals} [lastResort] what ends it where there is no time to wait
 */

/** A server that can be ended, killed, frozen and started again. */
export class Program {
  #options;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;
  /** @type {Promise<End>} */
  #ended = Promise.resolve({ code: 0, signal: null });

  /** @param {ProgramOptions} options */
  constructor(options) {
    this.#options = options;
  }

  get name() {
    return this.#options.name;
  }
  get pid() {
    return this.#child?.pid;
  }
  get running() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }
  /** Resolves when it has ended, by whomever. */
  get ended() {
    return this.#ended;
  }
  /** All it has written, in all its lives. */
  text() {
    return existsSync(this.#options.log) ? readFileSync(this.#options.log, 'utf8') : '';
  }

  /** @param {Record<string, string | undefined>} [changes] to its settings, from now on */
  start(changes) {
    if (this.running) throw new Error(`${this.name} runs already`);
    this.#options.env = { ...this.#options.env, ...changes };
    const { command, env, log, cwd, identity, lastResort = 'SIGKILL' } = this.#options;
    const out = openSync(log, 'a');
    // It has a session of its own, so that Ctrl-C reaches only us, who end everything in order; and it dies with
    // us, should we be killed.
    const [program, ...args] = ['setpriv', '--pdeathsig', lastResort.replace('SIG', ''), ...command];
    const child = spawn(program, args, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      cwd,
      ...identity,
      detached: true,
      stdio: ['ignore', out, out],
    });
    closeSync(out);
    // A server forgotten by a test must not keep the test process alive.
    child.unref();
    this.#child = child;
    const forget = endWithUs({ end: () => signal(child, lastResort) });
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', (error) => (forget(), reject(error)));
      child.once('exit', (code, killed) => (forget(), resolve({ code, signal: killed })));
    });
    this.#ended.catch(() => {});
  }

  /** @param {NodeJS.Signals} name */
  signal(name) {
    if (!this.#child || !this.running) throw new Error(`${this.name} had ended by itself\n${this.text()}`);
    process.kill(/** @type {number} */ (this.#child.pid), name);
  }

  /**
   * Ends it in order. Safe to call again.
   * @param {NodeJS.Signals} [name]
   * @returns {Promise<End & {ms: number}>}
   */
  async stop(name = 'SIGTERM', within = STOP_MS) {
    const begin = performance.now();
    if (this.running) this.signal(name);
    const end = await withDeadline(this.#ended, within, () => {
      if (this.#child) signal(this.#child, 'SIGKILL');
      return new Error(`${this.name} did not end within ${within} ms of ${name}\n${this.text().slice(-4000)}`);
    });
    return { ...end, ms: performance.now() - begin };
  }

  /** Takes it away without a goodbye, as a power cut would. */
  async kill() {
    if (this.#child && this.running) signal(this.#child, 'SIGKILL');
    await this.#ended;
  }

  /** It holds its connections and its port, and does nothing. */
  freeze() {
    this.signal('SIGSTOP');
  }

  thaw() {
    this.signal('SIGCONT');
  }
}

/** To all that this child has started, too. @param {import('node:child_process').ChildProcess} child @param {NodeJS.Signals} name */
function signal(child, name) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/**
 * Waits until `check` is true, as long as the program runs.
 * @param {Program} program
 * @param {() => Promise<boolean>} check
 * @param {number} [within]
 */
export async function whenUp(program, check, within = 30_000) {
  const deadline = performance.now() + within;
  for (;;) {
    if (!program.running) throw new Error(`${program.name} ended at once\n${program.text()}`);
    if (await check()) return;
    if (performance.now() > deadline) throw new Error(`${program.name} is not up after ${within} ms\n${program.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
