/**
 * What the client needs from where it runs, a browser or Node: a Socket.IO client, the address of the
 * server, and a word when the page or the network comes back. The only file of the client that knows
 * of the DOM.
 */
import { SocketError } from './core/errors.js';

const WHY_DEADLINE_MS = 5_000;

/** @typedef {(url: string, options: Record<string, any>) => import('./core/types.js').SocketLike} Io */

/**
 * @param {Io} [given] The caller's own `io`; used as it is.
 * @returns {Promise<Io>}
 * @throws {Error} In Node, where socket.io-client is not installed.
 * @throws {SocketError} `UNAVAILABLE` in a browser that could not load it.
 */
export async function loadIo(given) {
  if (given) return given;
  const inNode = typeof document === 'undefined' && 'process' in globalThis;
  // Not literals: no build step is to follow them.
  const source = inNode ? 'socket.io-client' : new URL('./vendor/socket.io.esm.min.js', import.meta.url).href;
  try {
    return (await import(source)).io;
  } catch (cause) {
    if (!inNode) throw new SocketError('UNAVAILABLE', 'the Socket.IO client could not be loaded');
    throw new Error('socket.io-client is not installed: run "npm i socket.io-client", or pass its io as options.io', { cause });
  }
}

/**
 * @param {string} apiBase `""` for the page's own server, or `https://host`, with a path where the server has one.
 * @returns {{ rest: string, socketUrl: () => string, socketPath: () => string }}
 */
export function endpoints(apiBase) {
  const rest = apiBase.replace(/\/+$/, '');
  const url = () => new URL(rest || '/', typeof location === 'undefined' ? undefined : location.href);
  return {
    rest,
    socketUrl: () => url().origin,
    socketPath: () => `${url().pathname.replace(/\/$/, '')}/socket.io/`,
  };
}

/**
 * Whether the server refuses pages of this one's origin: of a socket that was refused a browser says only that it failed.
 *
 * @param {string} sockets Where sockets are opened, `https://host/socket.io/`.
 * @param {typeof fetch} [send]
 * @returns {Promise<SocketError | null>} `FORBIDDEN`, in the server's words; null where it does not, or where nobody can tell.
 */
export async function whyRefused(sockets, send = globalThis.fetch) {
  // A program says no origin, so nobody refuses that.
  if (typeof location === 'undefined') return null;
  // Not GET, with which a page says its origin to other servers only.
  const ask = (/** @type {RequestMode} */ mode) => send(`${sockets}?EIO=4&transport=polling`, {
    method: 'POST', mode, credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(WHY_DEADLINE_MS),
  });
  try {
    const answer = await ask('cors');
    const problem = answer.status === 403 ? await answer.json() : null;
    return problem?.code === 'FORBIDDEN' ? new SocketError('FORBIDDEN', problem.detail) : null;
  } catch {
    if (new URL(sockets).origin === location.origin) return null;
  }
  // A page elsewhere may not read the answer, and sees only whether there is one.
  return ask('no-cors').then(
    () => new SocketError('FORBIDDEN', `the server answers, but not to pages of ${location.origin}: that has to be named in its ALLOWED_ORIGINS`),
    () => null,
  );
}

/**
 * Calls `wake` whenever the page becomes visible or the network comes back.
 *
 * @param {() => void} wake
 * @returns {() => void} Ends it.
 */
export function watchWake(wake) {
  if (typeof document === 'undefined') return () => {};
  const visible = () => {
    if (document.visibilityState === 'visible') wake();
  };
  document.addEventListener('visibilitychange', visible);
  window.addEventListener('online', wake);
  return () => {
    document.removeEventListener('visibilitychange', visible);
    window.removeEventListener('online', wake);
  };
}

/**
 * Tells what each file that this page gets from the server says of its time (`Server-Timing`), those from before the first call too.
 *
 * @param {string} server Its address, with which those of its answers begin.
 * @param {(sample: import('./core/clock.js').ProbeSample) => void} onAnswer
 * @returns {() => void} Ends it.
 */
export function watchAnswers(server, onAnswer) {
  if (typeof document === 'undefined') return () => {};
  const observer = new PerformanceObserver((list) => {
    for (const entry of /** @type {PerformanceResourceTiming[]} */ (list.getEntries())) {
      const { name, requestStart, responseStart, transferSize, serverTiming } = entry;
      const [receivedMs, answeredMs] = ['received', 'sent'].map((what) => (
        Number(serverTiming.find((metric) => metric.name === what)?.description || NaN)));
      // What came out of a cache tells of another day, and of some servers a page elsewhere is shown nothing.
      if (!name.startsWith(server) || transferSize === 0 || requestStart === 0) continue;
      onAnswer({ sentMs: requestStart, receivedMs, answeredMs, returnedMs: responseStart });
    }
  });
  observer.observe({ type: 'resource', buffered: true });
  return () => observer.disconnect();
}

/** @returns {import('./core/types.js').LocksLike | null} The locks all tabs of this origin share. */
export function browserLocks() {
  return typeof navigator === 'undefined' ? null : navigator.locks ?? null;
}
