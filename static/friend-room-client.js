/**
 * The client of Tutti: accounts, friends and rooms over REST, and the room itself over Socket.IO. An ES
 * module without a build step, for browsers and for Node 20.
 */
import { ServerClock } from './core/clock.js';
import { Connection } from './core/connection.js';
import { ApiError, asErrorPayload, SocketError } from './core/errors.js';
import { ServerEvent } from './core/events.js';
import { HostSync } from './core/host-sync.js';
import { stampSample, syncPlayback } from './core/playback.js';
import { ClockProbes } from './core/probes.js';
import { Reports } from './core/reports.js';
import { authCalls, RestApi } from './core/rest.js';
import { RoomLink } from './core/room-link.js';
import { SessionKeeper } from './core/session.js';
import { systemTime } from './core/time.js';
import { browserLocks, endpoints, loadIo, watchAnswers, watchWake, whyRefused } from './platform.js';

export { ApiError, ServerClock, SocketError, syncPlayback };

/** @import * as T from './core/types.js' */

/**
 * @typedef {object} ClientOptions
 * @property {import('./platform.js').Io} [io] socket.io-client's `io`; loaded where left out.
 * @property {string} [refreshToken] Goes with an access token given as a string.
 * @property {(session: T.Session | null) => unknown} [onSession] The same as the property; a promise it returns is awaited before another tab may refresh.
 * @property {() => T.Session | null | undefined | Promise<T.Session | null | undefined>} [loadSession] Reads what `onSession` stored last, in whichever tab.
 * @property {typeof fetch} [fetch]
 * @property {() => number} [clockNow] Monotonic milliseconds; `performance.now` where left out.
 * @property {boolean} [autoRejoin] Joins its room again after a reconnection; true where left out.
 * @property {string[]} [transports] `websocket`, then `polling`, where left out.
 * @property {T.LocksLike | null} [locks] `navigator.locks` where left out.
 * @property {T.Time} [time] For tests: the timers.
 * @property {() => number} [random] For tests: the jitter, from 0 to below 1.
 * @property {(wake: () => void) => () => void} [watchWake] Tells when the page or the network is back; the browser's events where left out.
 */

/**
 * A user at one server. Friends, rooms and the account, over REST, are in {@link RestApi}; everything
 * about the room one is in goes over the socket and rejects with an Error that has a `code`.
 */
export class FriendRoomClient extends RestApi {
  /** On joining, on every newer state, and on a change of host. @type {((state: T.RoomState) => void) | null} */
  onRoomStateChange = null;
  /** @type {((event: T.UserPresencePayload) => void) | null} */
  onUserJoined = null;
  /** @type {((event: T.UserPresencePayload) => void) | null} */
  onUserLeft = null;
  /** @type {((event: T.HostChangedPayload) => void) | null} */
  onHostChanged = null;
  /** @type {((event: T.RoomJoinedPayload) => void) | null} */
  onRoomJoined = null;
  /** Besides the server's reasons `rejoin_failed`, with a `code`: the room is not ours any more. @type {((event: T.RoomLeftPayload) => void) | null} */
  onRoomLeft = null;
  /** @type {((event: T.RoomClosedPayload) => void) | null} */
  onRoomClosed = null;
  /** What the room's listeners measured, every few seconds. @type {((event: T.RoomTimingPayload) => void) | null} */
  onRoomTiming = null;
  /** @type {((state: T.ConnectionState, reason: string) => void) | null} */
  onConnectionChange = null;
  /** The server does not take pages of this origin: `FORBIDDEN`, and what whoever runs it has to set. Or it takes no further connection of
   * this user for now: `RATE_LIMITED`. The attempts go on. @type {((error: T.ErrorPayload) => void) | null} */
  onConnectionRefused = null;
  /** The tokens were rotated, or (null) the session is gone: store or forget them. @type {((session: T.Session | null) => unknown) | null} */
  onSession = null;
  /** What went wrong where nobody was waiting for an answer. @type {((error: T.ErrorPayload) => void) | null} */
  onError = null;

  /** The server's clock. */
  clock;

  #auth;
  #session;
  #connection;
  #room;
  #sync;
  #probes;
  #reports;
  #watchWake;
  #watchAnswers;
  /** @type {(() => void) | null} */
  #unwatch = null;
  /** @type {string | null} */
  #userId = null;

  /**
   * @param {string} apiBase `""` for the page's own server, or `https://host`.
   * @param {string | T.Session | null} token An access token, or what {@link FriendRoomClient.login} answered.
   * @param {ClientOptions} [options]
   */
  constructor(apiBase, token, options = {}) {
    const time = options.time ?? systemTime(options.clockNow);
    const random = options.random ?? Math.random;
    const { rest, socketUrl, socketPath } = endpoints(apiBase);
    const http = { fetch: options.fetch };
    const clock = new ServerClock({ now: time.now, initialOffsetMs: Date.now() - time.now() });
    const given = typeof token === 'string' && token !== ''
      ? { access_token: token, refresh_token: options.refreshToken }
      : token || null;

    const auth = authCalls(rest, http);
    const session = new SessionKeeper(given, {
      time,
      spend: auth.refresh,
      loadSession: options.loadSession,
      locks: options.locks === undefined ? browserLocks() : options.locks,
      wallNow: () => (clock.ready ? clock.serverNow() : Date.now()),
      onSession: (session) => this.#sessionChanged(session),
      onRenewed: (fresh) => void this.#authenticate(fresh),
    });
    super(rest, session, http);

    this.clock = clock;
    this.onSession = options.onSession ?? null;
    this.#watchWake = options.watchWake ?? watchWake;
    // Of a clock that is the caller's own, the browser knows nothing.
    this.#watchAnswers = options.time || options.clockNow
      ? () => () => {}
      : () => watchAnswers(`${socketUrl()}/`, (sample) => this.#probes.onAnswer(sample));
    this.#auth = auth;
    this.#session = session;
    this.#connection = new Connection({
      time,
      random,
      tokens: session,
      rotateTransports: !options.transports,
      openSocket: async (auth) => (await loadIo(options.io))(socketUrl(), {
        path: socketPath(),
        auth,
        transports: options.transports ? [...options.transports] : ['websocket', 'polling'],
        tryAllTransports: true,
        autoConnect: false,
        // Connection does that.
        reconnection: false,
        forceNew: true,
        timeout: 10_000,
      }),
      whyRefused: () => whyRefused(`${socketUrl()}${socketPath()}`, options.fetch),
      onRefused: (error) => this.#notify('onConnectionRefused', asErrorPayload(error)),
      onEvent: (name, payload) => this.#received(name, payload),
      onUp: (hello) => this.#up(hello),
      onDown: () => {
        this.#probes.stop();
        this.#room.onDown();
      },
      onState: (state, reason) => this.#notify('onConnectionChange', state, reason),
    });
    const onError = (/** @type {unknown} */ error) => this.#notify('onError', asErrorPayload(error));
    this.#room = new RoomLink({
      time,
      random,
      onError,
      autoRejoin: options.autoRejoin ?? true,
      userId: () => this.userId,
      request: (event, payload, deadlineMs) => this.#connection.request(event, payload, deadlineMs),
      notify: (name, payload) => this.#notify(name, payload),
    });
    this.#sync = new HostSync({
      time,
      onError,
      maySend: () => this.#room.attached && this.#room.isHost,
      serverNow: () => this.#knownServerNow(),
      send: (sample) => this.#room.sync(sample),
    });
    this.#reports = new Reports({ time, random, maySend: () => this.#room.attached, send: (report) => this.#room.report(report) });
    this.#probes = new ClockProbes({ clock, time, send: (payload) => this.#connection.probe(payload) });
  }

  // --- What is known -------------------------------------------------------------------------------

  /** @returns {T.User | null} null while only a token is known; see {@link me}. */
  get user() {
    return this.#session.session?.user ?? null;
  }

  /** @returns {string | null} */
  get userId() {
    return this.user?.user_id ?? this.#userId;
  }

  get connected() {
    return this.#connection.state === 'connected';
  }

  /** The room this client is in, also while it is reconnecting. @returns {string | null} */
  get roomId() {
    return this.#room.room?.room_id ?? null;
  }

  /** The latest known state of that room. @returns {T.Room | null} */
  get room() {
    return this.#room.room;
  }

  get isHost() {
    return this.#room.isHost;
  }

  /**
   * Server time, Unix milliseconds. Until `clock.ready` it is no better than the device's wall clock.
   *
   * @returns {number}
   */
  serverNow() {
    return this.clock.serverNow();
  }

  // --- Accounts ------------------------------------------------------------------------------------

  /**
   * @param {string} apiBase
   * @param {{ email: string, username: string, password: string, name?: string }} account The password is sent in Unicode's NFC and
   *   otherwise as it is: blanks around it belong to it.
   * @param {{ fetch?: typeof fetch }} [options]
   * @returns {Promise<T.Session>}
   * @throws {ApiError}
   */
  static register(apiBase, account, options) {
    return authCalls(endpoints(apiBase).rest, options).register(account);
  }

  /**
   * @param {string} apiBase
   * @param {{ login: string, password: string }} credentials `login` is the e-mail or the username.
   * @param {{ fetch?: typeof fetch }} [options]
   * @returns {Promise<T.Session>}
   * @throws {ApiError}
   */
  static login(apiBase, credentials, options) {
    return authCalls(endpoints(apiBase).rest, options).login(credentials);
  }

  /**
   * Ends the session here whatever happens, and at the server if that answers (`onError` otherwise).
   *
   * @returns {Promise<void>}
   */
  async logout() {
    // First of all, so that the server closing our socket is no reason to come back.
    this.disconnect();
    try {
      await this.#session.end(this.#auth.logout);
    } catch (error) {
      this.#notify('onError', asErrorPayload(error));
    }
  }

  /**
   * Changes the username, and renews the session, so that whoever keeps it or is shown it has the new one.
   *
   * @param {string} username
   * @returns {Promise<T.User>}
   * @throws {ApiError}
   */
  async setUsername(username) {
    const user = await super.setUsername(username);
    await this.#session.renewNow();
    return user;
  }

  // --- The room --------------------------------------------------------------------------------------

  /**
   * Another tab may have stored a session: call this when the browser says that storage has changed. What is newer is taken over,
   * and what is older is put right through `onSession`.
   *
   * @returns {Promise<void>}
   */
  heedStoredSession() {
    return this.#session.heedStored();
  }

  /**
   * Connects, and stays connected until {@link disconnect}, {@link logout} or the session's end.
   *
   * @returns {Promise<T.ConnectedPayload>}
   * @throws {Error} `AUTH_REQUIRED` where the session is dead; `UNAVAILABLE` after 20 s without success,
   *   and, while the attempts go on, as soon as the server says so, `FORBIDDEN` where it takes no pages of this origin and
   *   `RATE_LIMITED` where this user has too many connections or opens them too often.
   */
  connect() {
    this.#unwatch ??= this.#watch();
    this.#session.startRenewing();
    return this.#connection.open();
  }

  #watch() {
    const ends = [
      this.#watchWake(() => {
        this.#connection.hurry();
        this.#probes.burst();
      }),
      this.#watchAnswers(),
    ];
    return () => ends.forEach((end) => end());
  }

  /** Closes the connection and forgets the room; the server keeps its place for a grace period. */
  disconnect() {
    this.#close('disconnected by the client');
  }

  /** @param {string} roomId @returns {Promise<T.RoomJoinedPayload>} */
  joinRoom(roomId) {
    return this.#room.join(roomId);
  }

  /** Leaves the room; without a connection by not coming back. @returns {Promise<void>} */
  leaveRoom() {
    return this.#room.leave();
  }

  /**
   * Tells the room what the host's player does. Stamped with the time of this call, unless it says
   * itself when it was true.
   *
   * @param {T.HostSample} sample
   * @returns {Promise<T.SyncAck>}
   */
  syncState(sample) {
    return this.#room.sync(stampSample(sample, this.#knownServerNow()));
  }

  /**
   * Sends what `getState` says at every tick, for as long as this client hosts its room. Errors go to
   * `onError`.
   *
   * @param {import('./core/host-sync.js').GetState} getState Reads the player; null for nothing to send.
   * @param {number} [intervalMs]
   */
  startSync(getState, intervalMs = 1000) {
    this.#sync.start(getState, intervalMs);
  }

  stopSync() {
    this.#sync.stop();
  }

  /**
   * Samples and sends at once, for play, pause, seek and a new song; the next tick is skipped.
   *
   * @returns {Promise<T.SyncAck | null>} null where {@link startSync} is not running, this client does
   *   not host, or there is nothing to send.
   */
  syncNow() {
    return this.#sync.now();
  }

  /**
   * Reports what `measure` says every ten seconds, for as long as this client is in a room.
   *
   * @param {import('./core/reports.js').Measure} measure
   */
  startReports(measure) {
    this.#reports.start(measure);
  }

  stopReports() {
    this.#reports.stop();
  }

  /** @returns {Promise<T.StateSyncedPayload>} */
  requestSync() {
    return this.#room.requestSync();
  }

  /** @param {string} userId A participant. @returns {Promise<T.HostChangedPayload>} */
  transferHost(userId) {
    return this.#room.transferHost(userId);
  }

  // --- Inside --------------------------------------------------------------------------------------

  #knownServerNow() {
    return this.clock.ready ? this.clock.serverNow() : null;
  }

  /** @param {T.ConnectedPayload} hello */
  #up(hello) {
    this.#userId = hello.user_id;
    // Both by the server's clock: ours may be wrong.
    this.#session.setRemaining(Date.parse(hello.expires_at) - Date.parse(hello.timestamp));
    this.#room.onUp();
    this.#reports.onUp();
    this.#probes.start();
  }

  /**
   * @param {string} name
   * @param {any} payload
   */
  #received(name, payload) {
    if (name === ServerEvent.PONG) this.#probes.onPong(payload);
    else if (name !== ServerEvent.ERROR) this.#room.onEvent(name, payload);
    else if (payload.code === 'AUTH_REQUIRED') void this.#tokenRanOut();
    else this.#notify('onError', asErrorPayload(payload));
  }

  /** The connection lives on a dead token, and the server is about to close it. */
  async #tokenRanOut() {
    try {
      await this.#authenticate(await this.#session.refresh(this.#connection.token));
    } catch (error) {
      this.#notify('onError', asErrorPayload(error));
    }
  }

  /** @param {string} token */
  async #authenticate(token) {
    if (!this.connected) return;
    try {
      const answer = await this.#connection.authenticate(token);
      if (answer && this.clock.ready) this.#session.setRemaining(Date.parse(answer.expires_at) - this.serverNow());
    } catch (error) {
      // Without a connection there is nothing to tell: the next one begins with the fresh token.
      if (this.connected) this.#notify('onError', asErrorPayload(error));
    }
  }

  /** @param {T.Session | null} session */
  async #sessionChanged(session) {
    if (!session) this.#close('AUTH_REQUIRED', new SocketError('AUTH_REQUIRED', 'the session is over'));
    try {
      await this.onSession?.(session);
    } catch (error) {
      reportError(error);
    }
  }

  /**
   * @param {string} reason
   * @param {SocketError} [error]
   */
  #close(reason, error) {
    this.#unwatch?.();
    this.#unwatch = null;
    this.#sync.stop();
    this.#reports.stop();
    this.#session.stopRenewing();
    this.#room.forget();
    this.#connection.close(reason, error);
  }

  /**
   * Calls one of the callbacks. What it throws is its own affair, and must not stop ours.
   *
   * @param {'onRoomStateChange' | 'onUserJoined' | 'onUserLeft' | 'onHostChanged' | 'onRoomJoined' | 'onRoomLeft' | 'onRoomClosed' | 'onRoomTiming' | 'onConnectionChange' | 'onConnectionRefused' | 'onError'} name
   * @param {...any} args
   */
  #notify(name, ...args) {
    try {
      /** @type {((...args: any[]) => void) | null} */ (this[name])?.(...args);
    } catch (error) {
      reportError(error);
    }
  }
}

/** @param {unknown} error */
function reportError(error) {
  if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
  else console.error(error);
}

export default FriendRoomClient;
