import { ClientEvent, ServerEvent, serverEvents } from './events.js';
import { asErrorPayload, isTransient, SocketError } from './errors.js';
import { backoffMs } from './time.js';

/** Covers a WebSocket that is swallowed on the way (10 s) and the fall back to polling. */
const ATTEMPT_DEADLINE_MS = 15_000;
const CONNECT_DEADLINE_MS = 20_000;
const REQUEST_DEADLINE_MS = 10_000;
/** How long to wait where a user has too many connections, or opens them too often. */
const TOO_MANY_PAUSE_MS = 10_000;
/** A connection that has lived this long was a good one. */
const STABLE_AFTER_MS = 10_000;
/** So often in a row a fresh token may be refused before we believe that no other will do. */
const MAX_REFUSALS = 3;

/** @typedef {import('./types.js').ConnectedPayload} ConnectedPayload */
/** @typedef {import('./types.js').ConnectionState} ConnectionState */

/**
 * A connection that stays: it opens the socket, opens it again whatever closed it, and puts questions
 * to the server that are always answered, if only by an error.
 *
 * All reconnecting is done here, none by socket.io: that one gives up after a CONNECT_ERROR and after
 * a `disconnect` by the server, and would use the old token.
 */
export class Connection {
  #parts;
  /** @type {import('./types.js').SocketLike | null} */
  #socket = null;
  /** @type {ConnectionState} */
  #state = 'disconnected';
  /** Counts the attempts, so that what belongs to an earlier one is known by its number. */
  #attempt = 0;
  #failures = 0;
  #refusals = 0;
  #upSinceMs = 0;
  /** The token of this attempt; socket.io asks for it when it sends the CONNECT packet. */
  #token = '';
  #refreshFirst = false;
  /** Why the server takes no page of ours, as it was told last. */
  #refusal = '';
  /** Between two attempts: nothing the socket may still say counts. */
  #waitingToRetry = false;
  /** @type {(() => void) | null} The retry, or the attempt's deadline: never both. */
  #cancelTimer = null;
  /** @type {ConnectedPayload | null} */
  #hello = null;
  /** @type {Set<{ resolve: (hello: ConnectedPayload) => void, reject: (error: unknown) => void }>} */
  #waiting = new Set();
  /** @type {Set<(error: SocketError) => void>} */
  #unanswered = new Set();

  /**
   * @param {object} parts
   * @param {(auth: (give: (auth: { token: string }) => void) => void) => Promise<import('./types.js').SocketLike>} parts.openSocket
   *   Makes the socket, not yet connected and without reconnection of its own.
   * @param {{ token: () => Promise<string>, refresh: (usedToken: string) => Promise<string> }} parts.tokens
   * @param {import('./types.js').Time} parts.time
   * @param {() => number} parts.random
   * @param {(name: string, payload: any) => void} parts.onEvent Everything the server sends but `connected`.
   * @param {(hello: ConnectedPayload) => void} parts.onUp
   * @param {() => void} parts.onDown Once for each `onUp`.
   * @param {(state: ConnectionState, reason: string) => void} parts.onState
   * @param {() => Promise<SocketError | null>} [parts.whyRefused] Finds out whether the server refuses this page, of which a
   *   failed socket tells nothing.
   * @param {(error: SocketError) => void} [parts.onRefused] It does, once for each reason. The attempts go on.
   * @param {boolean} [parts.rotateTransports] Try the other transport first after a failure.
   */
  constructor(parts) {
    this.#parts = parts;
  }

  get state() {
    return this.#state;
  }

  /** The access token this connection lives on. */
  get token() {
    return this.#token;
  }

  /**
   * Connects, and from then on stays connected until {@link close}.
   *
   * @returns {Promise<ConnectedPayload>}
   * @throws {SocketError} `AUTH_REQUIRED` where the session is dead. `UNAVAILABLE` after 20 s without an
   *   answer, while the attempts go on; another call waits for their outcome. `FORBIDDEN` where the server
   *   refuses this page, and `RATE_LIMITED` where this user has too many connections or opens them too often, likewise.
   */
  open() {
    if (this.#state === 'connected' && this.#hello) return Promise.resolve(this.#hello);
    /** @type {Promise<ConnectedPayload>} */
    const answer = new Promise((resolve, reject) => {
      const cancel = this.#parts.time.after(CONNECT_DEADLINE_MS, () => {
        this.#waiting.delete(waiter);
        reject(new SocketError('UNAVAILABLE', 'no connection yet; still trying'));
      });
      const waiter = {
        /** @param {ConnectedPayload} hello */
        resolve: (hello) => (cancel(), resolve(hello)),
        /** @param {unknown} error */
        reject: (error) => (cancel(), reject(error)),
      };
      this.#waiting.add(waiter);
    });
    if (this.#state === 'disconnected') {
      this.#failures = 0;
      this.#refusals = 0;
      this.#refusal = '';
      this.#setState('connecting', '');
      void this.#try();
    }
    return answer;
  }

  /**
   * Closes for good, or until the next {@link open}.
   *
   * @param {string} reason
   * @param {unknown} [error] What those hear who still wait for the connection.
   */
  close(reason, error = new SocketError('UNAVAILABLE', 'disconnected')) {
    if (this.#state === 'disconnected') return;
    this.#attempt += 1;
    this.#stopTimer();
    this.#setState('disconnected', reason);
    this.#lose();
    for (const { reject } of take(this.#waiting)) reject(error);
  }

  /** The network or the page is back: no reason to sit out the wait. */
  hurry() {
    if ((this.#state === 'reconnecting' || this.#state === 'connecting') && this.#waitingToRetry) {
      this.#failures = 0;
      void this.#try();
    }
  }

  /**
   * Puts a request to the server.
   *
   * @param {string} event
   * @param {unknown} payload
   * @param {number} [deadlineMs]
   * @returns {Promise<any>} The acknowledgement, without `ok`.
   * @throws {SocketError} With the server's code; `UNAVAILABLE` where there is no connection, it breaks,
   *   or no answer comes in time. What had been sent may have taken effect all the same.
   */
  request(event, payload, deadlineMs = REQUEST_DEADLINE_MS) {
    const socket = this.#socket;
    // Never left to socket.io's buffer: a position sent after the next reconnection would be an old one.
    if (!socket || this.#state !== 'connected') return Promise.reject(new SocketError('UNAVAILABLE', 'not connected'));
    return new Promise((resolve, reject) => {
      /** @param {SocketError} error */
      const fail = (error) => {
        this.#unanswered.delete(fail);
        cancel();
        reject(error);
      };
      const cancel = this.#parts.time.after(deadlineMs, () => {
        fail(new SocketError('UNAVAILABLE', `${event}: no answer within ${deadlineMs / 1000} s`));
      });
      this.#unanswered.add(fail);
      socket.emit(event, payload, (/** @type {any} */ answer) => {
        if (!this.#unanswered.delete(fail)) return;
        cancel();
        if (answer?.ok) {
          const { ok: _, ...rest } = answer;
          resolve(rest);
        } else {
          const { code, message } = answer?.error ?? {};
          reject(new SocketError(code ?? 'INTERNAL', message ?? `${event}: unreadable answer`));
        }
      });
    });
  }

  /**
   * Puts a fresh access token in the place of the one this connection lives on.
   *
   * @param {string} token
   * @returns {Promise<{ user_id: string, expires_at: string } | null>} null where it lives on it already.
   * @throws {SocketError} `AUTH_REQUIRED` where the server does not take it; the old one stays.
   */
  async authenticate(token) {
    if (token === this.#token) return null;
    const answer = await this.request(ClientEvent.AUTHENTICATE, { token });
    this.#token = token;
    return answer;
  }

  /** Sends a probe now or never. @param {unknown} payload */
  probe(payload) {
    if (this.#state === 'connected') this.#socket?.volatile.emit(ClientEvent.PING, payload);
  }

  async #try() {
    const attempt = ++this.#attempt;
    this.#stopTimer();
    const { tokens } = this.#parts;
    try {
      this.#token = this.#refreshFirst ? await tokens.refresh(this.#token) : await tokens.token();
      if (attempt !== this.#attempt) return;
      this.#refreshFirst = false;
      if (!this.#socket) {
        const socket = await this.#parts.openSocket((give) => give({ token: this.#token }));
        // Two attempts may have met here; the first socket stays.
        if (!this.#socket) this.#listen((this.#socket = socket));
        if (attempt !== this.#attempt) return;
      }
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (isTransient(error)) this.#retry(asErrorPayload(error).code, retryAfterMs(error));
      else this.close(asErrorPayload(error).code, error);
      return;
    }
    this.#cancelTimer = this.#parts.time.after(ATTEMPT_DEADLINE_MS, () => this.#retry('timeout'));
    this.#socket.connect();
  }

  /** @param {import('./types.js').SocketLike} socket */
  #listen(socket) {
    socket.on('connect_error', (error) => {
      if (this.#deaf) return;
      const code = error?.data?.code;
      if (code === 'AUTH_REQUIRED') return void this.#refused(error);
      // Not a word from the server: perhaps something on the way lets only the other transport through.
      if (!code && this.#parts.rotateTransports) socket.io?.opts?.transports?.reverse();
      // Another tab has to be closed first, or some time to pass.
      const tooMany = code === 'RATE_LIMITED';
      this.#retry(code ?? 'UNAVAILABLE', tooMany ? TOO_MANY_PAUSE_MS : 0);
      if (tooMany) this.#tellWhy(new SocketError(code, error.message));
      else if (!code) void this.#askWhy();
    });
    socket.on('disconnect', (reason) => {
      if (!this.#deaf) this.#retry(String(reason));
    });
    for (const name of serverEvents) {
      socket.on(name, (payload) => {
        if (this.#deaf) return;
        if (name === ServerEvent.CONNECTED) this.#up(payload ?? {});
        else this.#parts.onEvent(name, payload ?? {});
      });
    }
  }

  async #askWhy() {
    const refusal = await this.#parts.whyRefused?.();
    if (!refusal || this.#hello || this.#state === 'disconnected') return;
    this.#tellWhy(refusal);
  }

  /** @param {SocketError} refusal */
  #tellWhy(refusal) {
    for (const { reject } of take(this.#waiting)) reject(refusal);
    if (refusal.message === this.#refusal) return;
    this.#refusal = refusal.message;
    this.#parts.onRefused?.(refusal);
  }

  get #deaf() {
    return this.#state === 'disconnected' || this.#waitingToRetry;
  }

  /** @param {ConnectedPayload} hello */
  #up(hello) {
    this.#stopTimer();
    this.#upSinceMs = this.#parts.time.now();
    this.#refusals = 0;
    this.#refusal = '';
    this.#hello = hello;
    // Told after what has to be in place for it: whoever hears "connected" may use the connection.
    this.#state = 'connected';
    this.#parts.onUp(hello);
    this.#parts.onState('connected', '');
    for (const { resolve } of take(this.#waiting)) resolve(hello);
  }

  /**
   * The server does not take our token. Once the remedy is a refresh, tried at once; after that with
   * growing pauses, for a server that refuses what it has just issued is not well.
   *
   * @param {any} error
   */
  async #refused(error) {
    this.#refusals += 1;
    if (this.#refusals > MAX_REFUSALS) {
      this.close('AUTH_REQUIRED', new SocketError('AUTH_REQUIRED', error?.message ?? 'not authenticated'));
      return;
    }
    this.#refreshFirst = true;
    if (this.#refusals > 1) this.#retry('AUTH_REQUIRED');
    else await this.#try();
  }

  /**
   * @param {string} reason
   * @param {number} [leastMs]
   */
  #retry(reason, leastMs = 0) {
    this.#attempt += 1;
    this.#stopTimer();
    const wasUp = this.#state === 'connected';
    // A server that lets us in only to throw us out again is not to be asked twice a second.
    if (wasUp && this.#parts.time.now() - this.#upSinceMs > STABLE_AFTER_MS) this.#failures = 0;
    const delayMs = Math.max(leastMs, backoffMs(this.#failures, this.#parts.random));
    this.#failures += 1;
    this.#waitingToRetry = true;
    if (wasUp) this.#setState('reconnecting', reason);
    // Half a connection is none: closing it here also tells the server.
    this.#lose();
    this.#cancelTimer = this.#parts.time.after(delayMs, () => void this.#try());
  }

  /** Lets go of the socket and of all that waited for it. */
  #lose() {
    const wasUp = this.#hello !== null;
    this.#hello = null;
    this.#socket?.disconnect();
    for (const fail of take(this.#unanswered)) fail(new SocketError('UNAVAILABLE', 'the connection was lost'));
    if (wasUp) this.#parts.onDown();
  }

  #stopTimer() {
    this.#waitingToRetry = false;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  /**
   * @param {ConnectionState} state
   * @param {string} reason
   */
  #setState(state, reason) {
    if (this.#state === state) return;
    this.#state = state;
    this.#parts.onState(state, reason);
  }
}

/**
 * Empties a set before its members are called: they may add to it.
 *
 * @template T
 * @param {Set<T>} set
 */
function take(set) {
  const members = [...set];
  set.clear();
  return members;
}

/** @param {unknown} error */
function retryAfterMs(error) {
  const seconds = /** @type {{ retryAfter?: unknown }} */ (error)?.retryAfter;
  return typeof seconds === 'number' ? seconds * 1000 : 0;
}
