// What a client of Tutti does, in the few words that stories need: REST calls, users who can make
// them, and Socket.IO connections that remember what arrived.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { io } from 'socket.io-client';
import { DEADLINE_MS } from './eventually.mjs';

export { eventually } from './eventually.mjs';

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {Headers} headers
 * @property {any} body what the text says as JSON, or undefined if it is none
 * @property {string} text the body as it came
 */

/**
 * A caller of the REST interface at `url`. `body` is sent as JSON; `raw` as it is.
 * @param {string} url
 */
export function api(url) {
  /**
   * @param {string} method
   * @param {string} path
   * @param {{token?: string, body?: unknown, raw?: BodyInit, headers?: Record<string, string>}} [options]
   * @returns {Promise<Answer>}
   */
  return async function call(method, path, { token, body, raw, headers = {} } = {}) {
    const response = await fetch(url + path, {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(DEADLINE_MS),
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: body === undefined ? raw : JSON.stringify(body),
    });
    const text = await response.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not JSON: `body` stays undefined, and a test that wanted it says so.
    }
    return { status: response.status, headers: response.headers, body: parsed, text };
  };
}

/** Somebody who is logged in. */
export class User {
  /**
   * @param {string} url
   * @param {string} password
   * @param {any} session the answer of register, login or refresh
   */
  constructor(url, password, session) {
    this.url = url;
    this.password = password;
    this.session = session;
    /** What the server says of this user to this user. */
    this.account = session.user;
    /** @type {string} */
    this.user_id = session.user.user_id;
    /** @type {string} */
    this.username = session.user.username;
    /** @type {string} */
    this.email = session.user.email;
    /** @type {string} */
    this.token = session.access_token;
    /** @type {string} */
    this.refresh_token = session.refresh_token;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] */
  call(method, path, body) {
    return api(this.url)(method, path, { token: this.token, body });
  }
  /** @param {string} path */
  get(path) {
    return this.call('GET', path);
  }
  /** @param {string} path @param {unknown} [body] */
  post(path, body) {
    return this.call('POST', path, body);
  }
  /** @param {string} path */
  delete(path) {
    return this.call('DELETE', path);
  }

  /** The next token pair of this session; the old refresh token is spent. */
  async refresh() {
    const answer = await api(this.url)('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: this.refresh_token },
    });
    assert.equal(answer.status, 200, answer.text);
    this.session = answer.body;
    this.token = answer.body.access_token;
    this.refresh_token = answer.body.refresh_token;
  }
}

let users = 0;
let addresses = 0;

/**
 * Where connections come from. A balancer goes by the address of a client that polls, so each has one of its own, as
 * people have.
 */
export function agentOfOneself() {
  addresses += 1;
  // All of 127.0.0.0/8 is this machine.
  const localAddress = `127.${1 + (process.pid % 200)}.${(addresses >> 8) & 255}.${addresses & 255}`;
  return new Agent({ localAddress, keepAlive: true });
}

/** What a new user fills in: nobody else has this name or address. */
export function newcomer(name = 'user') {
  users += 1;
  const username = `${name}-${process.pid.toString(36)}-${users}x`;
  return {
    email: `${username}@example.org`,
    username,
    password: 'correct horse battery',
    name: `${name[0].toUpperCase()}${name.slice(1)} the ${users}th`,
  };
}

/**
 * @param {string} url
 * @param {string} [name] the username begins with it
 * @param {{headers?: Record<string, string>, [member: string]: unknown}} [more] headers, and members to send instead
 */
export async function register(url, name, { headers, ...more } = {}) {
  const form = { ...newcomer(name), ...more };
  const answer = await api(url)('POST', '/api/v1/auth/register', { body: form, headers });
  assert.equal(answer.status, 201, answer.text);
  return new User(url, form.password, answer.body);
}

/**
 * Several users at once, in the order of their names.
 * @param {string} url
 * @param {...string} names
 */
export function cast(url, ...names) {
  return Promise.all(names.map((name) => register(url, name)));
}

/** The same account from another device: a session of its own. @param {User} user */
export async function login(user) {
  const answer = await api(user.url)('POST', '/api/v1/auth/login', {
    body: { login: user.username, password: user.password },
  });
  assert.equal(answer.status, 200, answer.text);
  return new User(user.url, user.password, answer.body);
}

/** @param {User} from @param {User} to @returns the request, pending */
export async function ask(from, to) {
  const answer = await from.post('/api/v1/friends/request', { receiver_id: to.user_id });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}

/** @param {User} one @param {User} other */
export async function befriend(one, other) {
  const { request_id } = await ask(one, other);
  const answer = await other.post('/api/v1/friends/accept', { request_id });
  assert.equal(answer.status, 200, answer.text);
}

/** @param {User} host @param {Record<string, unknown>} [settings] an open room if left out */
export async function createRoom(host, settings = { is_friends_only: false }) {
  const answer = await host.post('/api/v1/rooms/create', settings);
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}

/** @param {User} host */
export function createFriendsRoom(host) {
  return createRoom(host, { is_friends_only: true });
}

/** @typedef {{event: string, payload: any}} Arrival */

/** @type {Set<Connection>} */
const connections = new Set();

/** A Socket.IO connection and all that has arrived on it. */
export class Connection {
  /** @type {Arrival[]} arrived and not yet taken by `next` or `until` */
  inbox = [];
  /** @type {Arrival[]} everything, in order */
  log = [];
  /** @type {any} the `connected` event */
  connected;
  /** @type {Set<() => void>} */
  #waiting = new Set();
  #ended = false;

  /** @param {import('socket.io-client').Socket} socket */
  constructor(socket) {
    this.socket = socket;
    /** @type {Promise<string>} the reason for which it ended */
    this.closed = new Promise((resolve) => socket.once('disconnect', resolve));
    socket.onAny((event, payload) => {
      this.log.push({ event, payload });
      this.inbox.push({ event, payload });
      for (const look of [...this.#waiting]) look();
    });
    socket.once('disconnect', () => {
      this.#ended = true;
      for (const look of [...this.#waiting]) look();
    });
  }

  /**
   * The earliest `event` that was not taken yet, whether it is here already or still to come.
   * @param {string} event
   * @param {(payload: any) => boolean} [predicate]
   * @param {number} [within]
   * @returns {Promise<any>} its payload
   */
  async next(event, predicate = () => true, within = DEADLINE_MS) {
    const place = await this.#find(event, predicate, within);
    return this.inbox.splice(place, 1)[0].payload;
  }

  /**
   * Like `next`, and takes everything that arrived before as well: what must *not* have happened is
   * seen to be missing from `before`.
   * @param {string} event
   * @param {(payload: any) => boolean} [predicate]
   * @param {number} [within]
   * @returns {Promise<{payload: any, before: Arrival[]}>}
   */
  async until(event, predicate = () => true, within = DEADLINE_MS) {
    const place = await this.#find(event, predicate, within);
    const taken = this.inbox.splice(0, place + 1);
    return { payload: taken[place].payload, before: taken.slice(0, place) };
  }

  /**
   * Sends a ping and takes all that arrived before its answer.
   * @returns {Promise<Arrival[]>}
   */
  async fence() {
    const client_time_ms = performance.now();
    this.send('ping', { client_time_ms });
    const { before } = await this.until('pong', (pong) => pong.client_time_ms === client_time_ms);
    return before;
  }

  /** @param {string} event @param {(payload: any) => boolean} predicate @param {number} within */
  #find(event, predicate, within) {
    const find = () => this.inbox.findIndex((arrival) => arrival.event === event && predicate(arrival.payload));
    return new Promise((/** @type {(place: number) => void} */ resolve, reject) => {
      const done = (/** @type {() => void} */ settle) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        settle();
      };
      const missing = (/** @type {string} */ why) => {
        const seen = this.log.map((arrival) => `${arrival.event} ${JSON.stringify(arrival.payload)}`).join('\n  ');
        return new Error(`no (further) ${event}: ${why}; arrived were\n  ${seen}`);
      };
      const look = () => {
        const place = find();
        if (place >= 0) done(() => resolve(place));
        else if (this.#ended) done(() => reject(missing('the connection ended')));
      };
      const timer = setTimeout(() => done(() => reject(missing(`not within ${within} ms`))), within);
      this.#waiting.add(look);
      look();
    });
  }

  /**
   * Sends an event and waits for its acknowledgement.
   * @param {string} event
   * @param {...unknown} payload
   * @returns {Promise<any>}
   */
  async emit(event, ...payload) {
    try {
      return await this.socket.timeout(DEADLINE_MS).emitWithAck(event, ...payload);
    } catch (cause) {
      throw new Error(`${event} ${JSON.stringify(payload)?.slice(0, 200)} was not acknowledged`, { cause });
    }
  }

  /** Sends an event without asking for an acknowledgement. @param {string} event @param {...unknown} payload */
  send(event, ...payload) {
    this.socket.emit(event, ...payload);
  }

  /** The transport goes, as when a laptop is closed: nobody says goodbye to the room. */
  drop() {
    this.socket.io.engine.close();
  }

  close() {
    connections.delete(this);
    this.socket.disconnect();
  }
}

/**
 * @typedef {object} ConnectOptions
 * @property {string[]} [transports] `websocket` alone if left out
 * @property {Record<string, unknown>} [auth] instead of the user's token
 * @property {Record<string, string>} [query]
 * @property {Record<string, string>} [extraHeaders]
 * @property {(connection: Connection) => void} [first] called before anything has been sent
 */

/**
 * @param {User} user
 * @param {ConnectOptions} [options]
 * @returns {Promise<Connection>} connected, with its `connected` event taken
 */
export async function connect(user, { transports = ['websocket'], first, ...options } = {}) {
  const socket = io(user.url, {
    transports,
    auth: { token: user.token },
    // A story sees every loss itself, and no connection is shared with another story.
    reconnection: false,
    forceNew: true,
    timeout: DEADLINE_MS,
    ...(process.env.TUTTI_STORIES_ON === 'cluster' ? { agent: /** @type {any} */ (agentOfOneself()) } : {}),
    ...options,
  });
  const connection = new Connection(socket);
  connections.add(connection);
  first?.(connection);
  await new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(undefined));
    socket.once('connect_error', (error) => {
      connection.close();
      reject(error);
    });
  });
  connection.connected = await connection.next('connected');
  return connection;
}

/** The error with which connecting is refused. @param {User} user @param {ConnectOptions} [options] */
export async function connectError(user, options) {
  let connection;
  try {
    connection = await connect(user, options);
  } catch (error) {
    return /** @type {Error & {data?: any}} */ (error);
  }
  connection.close();
  throw new assert.AssertionError({ message: 'this connection should have been refused' });
}

/** Ends every connection of this process. */
export function closeConnections() {
  for (const connection of [...connections]) connection.close();
}
