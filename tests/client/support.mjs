/** What the client's tests share: time in the test's hand, chance that repeats, and a server that plays along. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { io } from 'socket.io-client';
import { Server } from 'socket.io';
import { FriendRoomClient } from '../../static/friend-room-client.js';

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seededRandom(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A clock and timers that move only when told to. */
export class FakeTime {
  #now;
  #timers = [];

  constructor(startMs = 1000) {
    this.#now = startMs;
  }

  now = () => this.#now;

  after = (delayMs, run) => {
    const timer = { atMs: this.#now + Math.max(0, delayMs), run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Runs everything that falls due, in order. */
  advance(ms) {
    const endMs = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = due.atMs;
      due.run();
    }
    this.#now = endMs;
  }

  get pending() {
    return this.#timers.length;
  }
}

/** Lets promises that are already settled run their course. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Keeps what happened, and waits for what has not happened yet. Each entry is taken once. */
export class Log {
  #entries = [];
  #waiters = [];

  push(name, ...args) {
    const entry = { name, args };
    const waiter = this.#waiters.find((w) => w.matches(entry));
    if (!waiter) return void this.#entries.push(entry);
    this.#waiters = this.#waiters.filter((w) => w !== waiter);
    waiter.resolve(args[0]);
  }

  /** The first argument of the next entry of that name for which `test` holds. */
  next(name, test = () => true) {
    const matches = (entry) => entry.name === name && test(...entry.args);
    const index = this.#entries.findIndex(matches);
    if (index >= 0) return Promise.resolve(this.#entries.splice(index, 1)[0].args[0]);
    return new Promise((resolve) => this.#waiters.push({ matches, resolve }));
  }

  all(name) {
    return this.#entries.filter((entry) => entry.name === name).map((entry) => entry.args[0]);
  }
}

const CALLBACKS = ['onRoomStateChange', 'onUserJoined', 'onUserLeft', 'onHostChanged', 'onRoomJoined', 'onRoomLeft',
  'onRoomClosed', 'onConnectionChange', 'onSession', 'onError'];

/** A client of the peer, its callbacks in `log`; disconnected at the end of the test. */
export function clientOf(t, peer, token, options = {}) {
  // Without chance the first reconnection comes after a quarter of a second.
  const client = new FriendRoomClient(peer.url, token, { io, random: () => 0, ...options });
  const log = new Log();
  for (const name of CALLBACKS) client[name] = (...args) => log.push(name, ...args);
  t.after(() => client.disconnect());
  return { client, log };
}

/**
 * A small server that keeps the contract as far as the client can tell, and lets a test change any part.
 * Everything it receives is in `log`: `socket:<event>` and `<METHOD> <path>`.
 */
export async function startPeer(t) {
  const http = createServer();
  const server = new Server(http, { serveClient: false });
  const peer = {
    http,
    io: server,
    url: '',
    log: new Log(),
    /** Access token to user id. */
    tokens: new Map([['ann-1', 'user_ann'], ['bob-1', 'user_bob']]),
    /** Refresh token to what refresh answers; each works once. */
    refreshTokens: new Map(),
    rooms: new Map(),
    /** Set to refuse connections: `(token) => error or null`. */
    gate: (token) => (peer.tokens.has(token) ? null : refusal('AUTH_REQUIRED')),
    expiresInMs: 900_000,
    /** Added to this machine's clock, to make a server's. */
    clockAheadMs: 0,
    handlers: {},
    routes: {},
    now: () => Date.now() + peer.clockAheadMs,
    stamp: () => new Date(peer.now()).toISOString(),
    async sockets() {
      return server.sockets.sockets;
    },
  };
  Object.assign(peer.handlers, defaultHandlers(peer));
  Object.assign(peer.routes, defaultRoutes(peer));

  server.use((socket, next) => {
    const { token } = socket.handshake.auth;
    peer.log.push('CONNECT', token);
    const error = peer.gate(token);
    if (error) return next(error);
    socket.data.userId = peer.tokens.get(token);
    next();
  });
  server.on('connection', (socket) => {
    peer.log.push('connection', socket);
    socket.onAny((event, payload, ack) => {
      peer.log.push(`socket:${event}`, payload, socket);
      peer.handlers[event]?.(socket, payload, ack ?? (() => {}));
    });
    socket.on('disconnecting', () => peer.handlers.gone(socket));
    const expires = new Date(peer.now() + peer.expiresInMs).toISOString();
    socket.emit('connected', { user_id: socket.data.userId, timestamp: peer.stamp(), expires_at: expires });
  });
  http.on('request', (request, response) => void serve(peer, request, response));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  peer.url = `http://127.0.0.1:${http.address().port}`;
  t.after(() => new Promise((resolve) => {
    http.closeAllConnections();
    server.close(resolve);
  }));
  return peer;
}

export function refusal(code) {
  return Object.assign(new Error(code), { data: { code } });
}

async function serve(peer, request, response) {
  if (request.url.startsWith('/socket.io/')) return;
  let text = '';
  for await (const chunk of request) text += chunk;
  const path = request.url.split('?')[0];
  const call = {
    url: request.url,
    token: (request.headers.authorization ?? '').replace('Bearer ', ''),
    body: text === '' ? undefined : JSON.parse(text),
  };
  peer.log.push(`${request.method} ${path}`, call);
  const route = peer.routes[`${request.method} ${path}`];
  const [status, body, headers = {}] = route ? await route(call) : [404, { code: 'NOT_FOUND', detail: 'no such path' }];
  const type = status < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(status, { 'Content-Type': type, ...headers });
  response.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
}

function defaultRoutes(peer) {
  const authorized = (answer) => (call) => {
    const userId = peer.tokens.get(call.token);
    return userId ? answer(userId, call) : [401, { code: 'AUTH_REQUIRED', detail: 'log in' }];
  };
  return {
    'GET /api/v1/auth/me': authorized((userId) => [200, { user_id: userId, username: userId.slice(5), name: null }]),
    'POST /api/v1/auth/refresh': ({ body }) => {
      const answer = peer.refreshTokens.get(body.refresh_token);
      peer.refreshTokens.delete(body.refresh_token);
      return answer ? [200, answer] : [401, { code: 'AUTH_REQUIRED', detail: 'that token is dead' }];
    },
    'POST /api/v1/auth/logout': () => [204],
  };
}

/** A refresh token that answers with the access token `access` and the next refresh token. */
export function letRefresh(peer, refreshToken, access, next, userId = 'user_ann') {
  peer.tokens.set(access, userId);
  peer.refreshTokens.set(refreshToken, { access_token: access, refresh_token: next, token_type: 'Bearer', expires_in: 900 });
}

/** A room on the peer, playing from 10 s, hosted by ann. */
export function addRoom(peer, roomId = 'room_one', hostId = 'user_ann') {
  const room = {
    host_id: hostId, name: null, is_friends_only: false, current_song: null, participants: [], participant_count: 0, version: 1,
    playback_state: { playing: true, position: 10, current_time: 10, rate: 1, timestamp_ms: peer.now(), timestamp: peer.stamp() },
  };
  peer.rooms.set(roomId, room);
  return room;
}

function defaultHandlers(peer) {
  const fail = (ack, code) => ack({ ok: false, error: { code, message: code } });
  return {
    ping(socket, payload) {
      const receivedMs = peer.now();
      socket.emit('pong', { timestamp: peer.stamp(), client_time_ms: payload.client_time_ms, received_ms: receivedMs, sent_ms: peer.now() });
    },
    join_room(socket, { room_id }, ack) {
      const room = peer.rooms.get(room_id);
      if (!room) return fail(ack, 'JOIN_FAILED');
      const { userId } = socket.data;
      if (!room.participants.includes(userId)) {
        room.participants.push(userId);
        room.participant_count += 1;
        socket.to(room_id).emit('user_joined', { room_id, user_id: userId, username: userId.slice(5), participant_count: room.participant_count, timestamp: peer.stamp() });
      }
      socket.join(room_id);
      socket.data.roomId = room_id;
      const joined = { room_id, room_state: structuredClone(room), is_host: room.host_id === userId, timestamp: peer.stamp() };
      socket.emit('room_joined', joined);
      ack({ ok: true, ...joined });
    },
    leave_room_socket(socket, payload, ack) {
      const roomId = socket.data.roomId;
      if (!roomId || (payload?.room_id ?? roomId) !== roomId) return fail(ack, 'NOT_IN_ROOM');
      const room = peer.rooms.get(roomId);
      const { userId } = socket.data;
      room.participants = room.participants.filter((other) => other !== userId);
      room.participant_count -= 1;
      socket.leave(roomId);
      socket.data.roomId = null;
      const left = { room_id: roomId, reason: 'left', timestamp: peer.stamp() };
      peer.io.to(roomId).emit('user_left', { room_id: roomId, user_id: userId, username: userId.slice(5), participant_count: room.participant_count, timestamp: peer.stamp() });
      socket.emit('room_left', left);
      ack({ ok: true, ...left });
    },
    sync_state(socket, payload, ack) {
      const { roomId, userId } = socket.data;
      const room = peer.rooms.get(roomId);
      if (!room) return fail(ack, 'NOT_IN_ROOM');
      if (room.host_id !== userId) return fail(ack, 'UPDATE_FAILED');
      room.version += 1;
      room.playback_state = payload.playback_state;
      if (payload.current_song !== undefined) room.current_song = payload.current_song;
      socket.to(roomId).emit('state_synced', synced(peer, roomId));
      ack({ ok: true, version: room.version, timestamp: peer.stamp() });
    },
    request_sync(socket, payload, ack) {
      if (!socket.data.roomId) return fail(ack, 'NOT_IN_ROOM');
      const state = synced(peer, socket.data.roomId);
      socket.emit('state_synced', state);
      ack({ ok: true, ...state });
    },
    transfer_host(socket, { user_id }, ack) {
      const { roomId, userId } = socket.data;
      const room = peer.rooms.get(roomId);
      room.host_id = user_id;
      room.version += 1;
      const changed = { room_id: roomId, host_id: user_id, previous_host_id: userId, reason: 'transferred', timestamp: peer.stamp() };
      peer.io.to(roomId).emit('host_changed', changed);
      ack({ ok: true, ...changed });
    },
    authenticate(socket, { token }, ack) {
      if (peer.tokens.get(token) !== socket.data.userId) return fail(ack, 'AUTH_REQUIRED');
      const answer = { user_id: socket.data.userId, expires_at: new Date(peer.now() + 900_000).toISOString() };
      socket.emit('authenticated', answer);
      ack({ ok: true, ...answer });
    },
    gone() {},
  };
}

export function synced(peer, roomId) {
  const { playback_state, current_song, version } = peer.rooms.get(roomId);
  return { room_id: roomId, playback_state, current_song, version, timestamp: peer.stamp() };
}
