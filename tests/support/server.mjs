// Starts Tutti as its users do: the program, a data folder and some settings. Nothing is shared
// between two servers, and whatever is started here ends with the process that started it.

import { spawn } from 'node:child_process';
import { withDeadline } from './eventually.mjs';
import { binary, endWithUs, exitOnSignals, removeFolder, temporaryFolder, withFileLimit } from './program.mjs';

export { binary, freePort, temporaryFolder } from './program.mjs';

exitOnSignals();

// The whole line has to be there, or the last digits of the port might still be missing.
const READY_LINE = /127\.0\.0\.1:(\d+)[^\n]*\n/;

const START_MS = 30_000;
// The program promises 5 s; what takes longer is reported, not waited for.
const STOP_MS = 10_000;

/** No limits: for stories that are about something else. */
export const unlimited = {
  RATE_FRIEND_REQUESTS_PER_HOUR: '0',
  RATE_ROOM_CREATIONS_PER_HOUR: '0',
  RATE_SOCKET_EVENTS_PER_MINUTE: '0',
  RATE_SOCKET_PINGS_PER_MINUTE: '0',
  RATE_AUTH_PER_MINUTE: '0',
  RATE_LOGIN_FAILURES_PER_15_MINUTES: '0',
  RATE_API_PER_MINUTE: '0',
  RATE_IMAGES_PER_MINUTE: '0',
};

/**
 * @param {string[]} args
 * @param {Record<string, string | undefined>} env the settings; nothing else of ours is passed on
 * @param {number} [files] how many it may open
 */
function launch(args, env, files) {
  const [program, ...rest] = withFileLimit([binary(), ...args], files);
  const clean = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    RUST_BACKTRACE: '1',
    HTTP_ADDR: '127.0.0.1:0',
    ADMIN_ADDR: '127.0.0.1:0',
    ...env,
  };
  const child = spawn(program, rest, { env: clean, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (output.out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (output.err += text));
  // A server forgotten by a test must not keep the test process alive. Every wait below has a timer
  // that does, for as long as somebody waits.
  child.unref();
  for (const stream of [child.stdout, child.stderr]) {
    /** @type {import('node:net').Socket} */ (/** @type {unknown} */ (stream)).unref();
  }
  const forget = endWithUs({ end: () => child.kill('SIGKILL') });
  /** @type {Promise<{code: number | null, signal: string | null}>} */
  const exited = new Promise((resolve, reject) => {
    child.once('error', reject);
    // `close`, not `exit`: what it wrote last has been read by then.
    child.once('close', (code, signal) => {
      forget();
      resolve({ code, signal });
    });
  });
  exited.catch(() => forget());
  return { child, output, exited };
}

/**
 * Runs the program to its end, for `--help` and for settings that it must refuse.
 * @param {string[]} args
 * @param {Record<string, string | undefined>} [env]
 */
export async function runTutti(args, env = {}) {
  const { child, output, exited } = launch(args, { TUTTI_DATA_DIR: temporaryFolder(), ...env });
  const { code, signal } = await withDeadline(exited, STOP_MS, () => {
    child.kill('SIGKILL');
    return new Error(`tutti ${args.join(' ')} did not end\n${output.out}${output.err}`);
  });
  return { code, signal, stdout: output.out, stderr: output.err };
}

/**
 * Starts a server and waits until it says where it listens.
 *
 * @param {object} [options]
 * @param {Record<string, string | undefined>} [options.env] settings, over the few that every test needs
 * @param {string[]} [options.args] flags
 * @param {string} [options.dataDir] data to start with; it is then the caller's to remove
 * @param {string} [options.role] `gateway`, `auth`, …; standalone if left out
 * @param {number} [options.files] how many files it may open
 */
export async function startTutti({ env = {}, args = [], dataDir, role, files } = {}) {
  const ownsData = dataDir === undefined;
  const data = dataDir ?? temporaryFolder();
  const settings = { TUTTI_DATA_DIR: data, ...env };
  const commandLine = role === undefined ? args : [role, ...args];
  const earlier = { out: '', err: '' };
  let process_ = launch(commandLine, settings, files);
  let port = await ready(process_);
  let stopped = false;

  async function ended() {
    const { child, output, exited } = process_;
    const result = await withDeadline(exited, STOP_MS, () => {
      child.kill('SIGKILL');
      return new Error(`tutti did not end within ${STOP_MS} ms\n${output.err}`);
    });
    stopped = true;
    return result;
  }

  async function end(/** @type {NodeJS.Signals} */ signal) {
    const { child, output } = process_;
    if (child.exitCode !== null || child.signalCode !== null) {
      await ended();
      throw new Error(`tutti had ended by itself (${child.exitCode ?? child.signalCode})\n${output.err}`);
    }
    const asked = performance.now();
    child.kill(signal);
    const { code, signal: killed } = await ended();
    if (code !== 0) {
      throw new Error(`tutti ended with ${code ?? killed} on ${signal}\n${output.err}`);
    }
    return { code, ms: performance.now() - asked };
  }

  function forget() {
    if (!ownsData) return;
    removeFolder(data);
  }

  return {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    get wsUrl() {
      return `ws://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    get pid() {
      return process_.child.pid;
    },
    dataDir: data,
    /** All it has written so far, before restarts too. */
    stdout: () => earlier.out + process_.output.out,
    stderr: () => earlier.err + process_.output.err,

    /**
     * Ends it in order; a status other than 0 is an error. Safe to call again.
     * @param {NodeJS.Signals} [signal]
     */
    async stop(signal = 'SIGTERM') {
      if (stopped) {
        forget();
        return { code: 0, ms: 0 };
      }
      try {
        return await end(signal);
      } finally {
        forget();
      }
    },

    /** Takes it away without a goodbye, as a power cut would. Its data stays. */
    async kill() {
      if (stopped) return;
      process_.child.kill('SIGKILL');
      await ended();
    },

    /**
     * Ends it, if it still runs, and starts it with the same data on the same port.
     * @param {Record<string, string | undefined>} [changes] settings that differ this time
     */
    async restart(changes = {}) {
      if (!stopped) await end('SIGTERM');
      earlier.out += process_.output.out;
      earlier.err += process_.output.err;
      process_ = launch(commandLine, { ...settings, HTTP_ADDR: `127.0.0.1:${port}`, ...changes }, files);
      port = await ready(process_);
      stopped = false;
    },
  };
}

/** @param {ReturnType<typeof launch>} process_ @returns {Promise<number>} the port */
async function ready({ child, output, exited }) {
  /** @type {Promise<number>} */
  const announced = new Promise((resolve, reject) => {
    const look = () => {
      const line = READY_LINE.exec(output.out);
      if (line) resolve(Number(line[1]));
    };
    child.stdout?.on('data', look);
    look();
    exited.then(
      ({ code, signal }) => reject(new Error(`tutti ended with ${code ?? signal}\n${output.out}${output.err}`)),
      reject,
    );
  });
  return withDeadline(announced, START_MS, () => {
    child.kill('SIGKILL');
    return new Error(`tutti was not ready within ${START_MS} ms\n${output.out}${output.err}`);
  });
}

/** @typedef {Awaited<ReturnType<typeof startTutti>>} Tutti */
