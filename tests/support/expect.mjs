// The shapes of the contract. Members may be added, so only those it names are looked at.

import assert from 'node:assert/strict';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** @param {unknown} value @param {string} [what] */
export function isTime(value, what = 'time') {
  assert.equal(typeof value, 'string', `${what}: ${value}`);
  assert.match(/** @type {string} */ (value), TIME, what);
  assert.ok(!Number.isNaN(Date.parse(/** @type {string} */ (value))), `${what}: ${value}`);
}

/** A time of this moment, by a clock that is the server's too. @param {unknown} value @param {string} [what] */
export function isNow(value, what = 'time') {
  isTime(value, what);
  const distance = Math.abs(Date.now() - Date.parse(/** @type {string} */ (value)));
  assert.ok(distance < 15_000, `${what} is ${distance} ms away: ${value}`);
}

/** @param {unknown} value @param {'user' | 'room' | 'freq'} prefix */
export function isId(value, prefix) {
  assert.equal(typeof value, 'string');
  assert.match(/** @type {string} */ (value), new RegExp(`^${prefix}_[0-7][0-9a-hjkmnp-tv-z]{25}$`));
}

/** @param {any} value @param {Record<string, string>} members name to type; `?` at the end allows null */
export function has(value, members) {
  assert.ok(value !== null && typeof value === 'object', `an object, not ${JSON.stringify(value)}`);
  for (const [name, type] of Object.entries(members)) {
    assert.ok(name in value, `${name} is missing from ${JSON.stringify(value)}`);
    if (type.endsWith('?') && value[name] === null) continue;
    const expected = type.replace('?', '');
    const actual = Array.isArray(value[name]) ? 'array' : value[name] === null ? 'null' : typeof value[name];
    assert.equal(actual, expected, `${name} of ${JSON.stringify(value)}`);
  }
}

const TITLES = /** @type {Record<number, string>} */ ({
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  // RFC 9110 calls these two Content Too Large and Unprocessable Content; their older names are in use too.
  429: 'Too Many Requests',
  503: 'Service Unavailable',
});

/**
 * A refusal over REST, as RFC 9457 and section 1 have it.
 * @param {import('./api.mjs').Answer} answer
 * @param {number} status
 * @param {string} code
 * @param {string[]} [fields] the members that `errors` has to name
 */
export function isProblem(answer, status, code, fields) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json(;|$)/);
  has(answer.body, { type: 'string', title: 'string', status: 'number', detail: 'string', code: 'string' });
  assert.equal(answer.body.type, 'about:blank');
  assert.equal(answer.body.status, status);
  assert.equal(answer.body.code, code, answer.text);
  if (status in TITLES) assert.equal(answer.body.title, TITLES[status]);
  if (status === 401) assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer\b/);
  if (status === 429) {
    assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/, 'Retry-After in seconds');
  }
  if (fields) {
    assert.ok(Array.isArray(answer.body.errors), answer.text);
    for (const error of answer.body.errors) has(error, { field: 'string', message: 'string' });
    const named = new Set(answer.body.errors.map((/** @type {any} */ error) => error.field));
    assert.deepEqual([...named].sort(), [...fields].sort(), answer.text);
  }
}

/** A refusal of an event, as its acknowledgement has it. @param {any} ack @param {string} code */
export function isRefused(ack, code) {
  assert.equal(ack?.ok, false, `refused, not ${JSON.stringify(ack)}`);
  has(ack.error, { message: 'string', code: 'string' });
  assert.equal(ack.error.code, code, JSON.stringify(ack));
}

/** Accepted, and with the payload of the event that it caused. @param {any} ack @param {any} [payload] */
export function isAccepted(ack, payload) {
  assert.equal(ack?.ok, true, `accepted, not ${JSON.stringify(ack)}`);
  if (payload !== undefined) {
    const { ok, ...rest } = ack;
    assert.deepEqual(rest, payload);
  }
}

/** @param {any} user as its owner sees it */
export function isAccount(user) {
  has(user, { user_id: 'string', email: 'string', username: 'string', name: 'string?', profile: 'object' });
  isId(user.user_id, 'user');
  isTime(user.created_at, 'created_at');
  assert.ok('last_login' in user);
  if (user.last_login !== null) isTime(user.last_login, 'last_login');
}

/** @param {any} session the answer of register, login and refresh */
export function isSession(session) {
  has(session, { user: 'object', access_token: 'string', refresh_token: 'string', expires_in: 'number', generation: 'number' });
  assert.equal(session.token_type, 'Bearer');
  isAccount(session.user);
}

/** @param {any} user as others see it @param {import('./api.mjs').User} [who] */
export function isStranger(user, who) {
  has(user, { user_id: 'string', username: 'string', name: 'string?' });
  for (const secret of ['email', 'profile', 'last_login', 'password', 'password_hash']) {
    assert.ok(!(secret in user), `${secret} is nobody else's business`);
  }
  if (who) {
    assert.equal(user.user_id, who.user_id);
    assert.equal(user.username, who.username);
  }
}

/** @param {any} request @param {string} status */
export function isFriendRequest(request, status) {
  has(request, { request_id: 'string', sender: 'object', receiver: 'object', status: 'string' });
  isId(request.request_id, 'freq');
  isStranger(request.sender);
  isStranger(request.receiver);
  assert.equal(request.status, status);
  isTime(request.created_at, 'created_at');
  if (status === 'pending') assert.equal(request.responded_at, null);
  else isTime(request.responded_at, 'responded_at');
}

/** @param {any} playback */
export function isPlayback(playback) {
  has(playback, { playing: 'boolean', position: 'number', current_time: 'number', rate: 'number', timestamp_ms: 'number' });
  isTime(playback.timestamp, 'playback_state.timestamp');
  const apart = Math.abs(Date.parse(playback.timestamp) - playback.timestamp_ms);
  assert.ok(apart <= 1, `timestamp and timestamp_ms are ${apart} ms apart`);
}

/** @param {any} room as REST shows it */
export function isRoom(room) {
  has(room, {
    room_id: 'string',
    host_id: 'string?',
    name: 'string?',
    is_friends_only: 'boolean',
    max_participants: 'number',
    current_song: 'object?',
    playback_state: 'object',
    participants: 'array',
    participant_count: 'number',
    version: 'number',
  });
  isId(room.room_id, 'room');
  isTime(room.created_at, 'created_at');
  isTime(room.last_activity, 'last_activity');
}

/** @param {any} payload of `room_joined` */
export function isRoomJoined(payload) {
  has(payload, { room_id: 'string', room_state: 'object', is_host: 'boolean' });
  isNow(payload.timestamp);
  has(payload.room_state, {
    host_id: 'string',
    name: 'string?',
    is_friends_only: 'boolean',
    current_song: 'object?',
    playback_state: 'object',
    participants: 'array',
    participant_count: 'number',
    version: 'number',
  });
  isPlayback(payload.room_state.playback_state);
}

/** @param {any} payload of `state_synced` */
export function isStateSynced(payload) {
  has(payload, { room_id: 'string', playback_state: 'object', current_song: 'object?', version: 'number' });
  isPlayback(payload.playback_state);
  isNow(payload.timestamp);
}
