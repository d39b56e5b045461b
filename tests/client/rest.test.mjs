import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callJson } from '../../static/core/http.js';
import { ApiError, FriendRoomClient } from '../../static/friend-room-client.js';
import { clientOf, letRefresh, startPeer } from './support.mjs';

const limits = { timeout: 20_000 };

test('a problem becomes an ApiError with everything in it', limits, async (t) => {
  const peer = await startPeer(t);
  peer.routes['POST /api/v1/auth/register'] = () => [422, {
    type: 'about:blank', title: 'Unprocessable Entity', status: 422, detail: 'username: 3 to 32 characters', code: 'INVALID_REQUEST',
    errors: [{ field: 'username', message: '3 to 32 characters' }],
  }];
  const account = { email: 'a@example.org', username: 'a', password: 'long enough to do' };
  const error = await FriendRoomClient.register(peer.url, account).catch((e) => e);
  assert.ok(error instanceof ApiError && error instanceof Error);
  assert.equal(error.status, 422);
  assert.equal(error.code, 'INVALID_REQUEST');
  assert.equal(error.detail, 'username: 3 to 32 characters');
  assert.deepEqual(error.errors, [{ field: 'username', message: '3 to 32 characters' }]);
  assert.equal(error.retryAfter, null);
});

test('429 says how long to wait; an answer that is not ours still gets a code', limits, async (t) => {
  const peer = await startPeer(t);
  peer.routes['POST /api/v1/auth/login'] = () => [429, { code: 'RATE_LIMITED', detail: 'slow down' }, { 'Retry-After': '17' }];
  const credentials = { login: 'ann', password: 'x' };
  await assert.rejects(FriendRoomClient.login(peer.url, credentials), { status: 429, code: 'RATE_LIMITED', retryAfter: 17 });
  peer.routes['POST /api/v1/auth/login'] = () => [502, '<html>Bad Gateway</html>'];
  await assert.rejects(FriendRoomClient.login(peer.url, credentials), { status: 502, code: 'UNAVAILABLE' });
  peer.routes['POST /api/v1/auth/login'] = () => [200, '<html>hello</html>'];
  await assert.rejects(FriendRoomClient.login(peer.url, credentials), { code: 'INTERNAL' });
});

test('a new password goes in one form of Unicode, and is not changed otherwise; to log in it goes as typed', limits, async (t) => {
  const peer = await startPeer(t);
  const typed = '  cafe\u0301 o\u0302\u0301 \ufb01ne ';
  const sent = '  caf\u00e9 \u1ed1 \ufb01ne ';
  peer.routes['POST /api/v1/auth/register'] = () => [201, {}];
  await FriendRoomClient.register(peer.url, { email: 'a@example.org', username: 'ann', password: typed });
  assert.equal(peer.log.all('POST /api/v1/auth/register')[0].body.password, sent);

  const sentToLogIn = () => peer.log.all('POST /api/v1/auth/login').map(({ body }) => body.password);
  peer.routes['POST /api/v1/auth/login'] = () => [200, {}];
  await FriendRoomClient.login(peer.url, { login: 'ann', password: typed });
  assert.deepEqual(sentToLogIn(), [typed]);

  // The server knows both forms: a wrong one is sent once, and counts once.
  peer.routes['POST /api/v1/auth/login'] = () => [401, { code: 'AUTH_REQUIRED' }];
  await assert.rejects(FriendRoomClient.login(peer.url, { login: 'ann', password: typed }), { status: 401 });
  assert.deepEqual(sentToLogIn(), [typed, typed]);
});

test('a picture of another host comes as it is, and one that cannot be had is an ApiError', limits, async (t) => {
  const peer = await startPeer(t);
  const { client } = clientOf(t, peer, 'ann-1');
  peer.routes['GET /api/v1/images'] = () => [200, 'bytes', { 'Content-Type': 'image/png' }];
  const picture = await client.getImage('https://a.example/ä.png?x=1&y=2');
  assert.equal(picture.type, 'image/png');
  assert.equal(picture.size, 5);
  assert.equal(new URL(peer.log.all('GET /api/v1/images')[0].url, peer.url).searchParams.get('url'), 'https://a.example/ä.png?x=1&y=2');
  peer.routes['GET /api/v1/images'] = () => [404, { code: 'NOT_FOUND', detail: 'a.example took too long' }];
  await assert.rejects(client.getImage('https://a.example/b.png'), { status: 404, code: 'NOT_FOUND', detail: 'a.example took too long' });
});

test('no server, and a server that never answers, are UNAVAILABLE', limits, async (t) => {
  const peer = await startPeer(t);
  peer.routes['GET /stuck'] = () => new Promise(() => {});
  await assert.rejects(callJson(peer.url, { method: 'GET', path: '/stuck' }, { deadlineMs: 50 }), { status: 0, code: 'UNAVAILABLE' });
  await assert.rejects(callJson('http://127.0.0.1:1', { method: 'GET', path: '/' }), { status: 0, code: 'UNAVAILABLE' });
});

test('a call refused with 401 is made again, once, with a fresh token', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  const { client, log } = clientOf(t, peer, 'gone', { refreshToken: 'r1' });
  const [me, again] = await Promise.all([client.me(), client.me()]);
  assert.equal(me.user_id, 'user_ann');
  assert.equal(again.user_id, 'user_ann');
  assert.equal(client.user.username, 'ann');
  assert.equal((await log.next('onSession')).refresh_token, 'r2');
  assert.equal(peer.log.all('POST /api/v1/auth/refresh').length, 1);
  assert.deepEqual(peer.log.all('GET /api/v1/auth/me').map((c) => c.token), ['gone', 'gone', 'ann-2', 'ann-2']);
});

test('refused again with the fresh token, it is given up', limits, async (t) => {
  const peer = await startPeer(t);
  letRefresh(peer, 'r1', 'ann-2', 'r2');
  peer.tokens.clear();
  const { client } = clientOf(t, peer, 'gone', { refreshToken: 'r1' });
  await assert.rejects(client.me(), { status: 401 });
  assert.equal(peer.log.all('GET /api/v1/auth/me').length, 2);
});

test('when the refresh token is dead too, the session is over', limits, async (t) => {
  const peer = await startPeer(t);
  const { client, log } = clientOf(t, peer, 'gone', { refreshToken: 'dead' });
  await assert.rejects(client.me(), { status: 401, code: 'AUTH_REQUIRED' });
  assert.equal(await log.next('onSession'), null);
  await assert.rejects(client.getFriends(), { status: 401 });
  assert.equal(peer.log.all('GET /api/v1/friends').length, 0, 'no call without a session');
});

test('a 401 while refresh does not answer is no reason to log out', limits, async (t) => {
  const peer = await startPeer(t);
  peer.routes['POST /api/v1/auth/refresh'] = () => [503, { code: 'UNAVAILABLE', detail: 'later' }];
  const { client, log } = clientOf(t, peer, 'gone', { refreshToken: 'r1' });
  await assert.rejects(client.me(), { status: 503, code: 'UNAVAILABLE' });
  assert.deepEqual(log.all('onSession'), []);
});

test('every call goes where the contract says', limits, async (t) => {
  const peer = await startPeer(t);
  const answer = { users: ['u'], requests: ['q'], friends: ['f'], rooms: ['r'] };
  const { client } = clientOf(t, peer, 'ann-1');
  const calls = [
    ['GET /api/v1/friends/search', () => client.searchUsers('a&b c', 5), ['u'], undefined, '?q=a%26b+c&limit=5'],
    ['POST /api/v1/friends/request', () => client.sendFriendRequest('bob'), answer, { username: 'bob' }],
    ['POST /api/v1/friends/request', () => client.sendFriendRequest({ receiver_id: 'user_bob' }), answer, { receiver_id: 'user_bob' }],
    ['POST /api/v1/friends/accept', () => client.acceptFriendRequest('freq_1'), answer, { request_id: 'freq_1' }],
    ['POST /api/v1/friends/reject', () => client.rejectFriendRequest('freq_1'), answer, { request_id: 'freq_1' }],
    ['DELETE /api/v1/friends/requests/freq_1', () => client.withdrawFriendRequest('freq_1'), null],
    ['GET /api/v1/friends/requests', () => client.getFriendRequests('sent'), ['q'], undefined, '?type=sent'],
    ['GET /api/v1/friends/requests', () => client.getFriendRequestPage('received', { cursor: 'a b', limit: 7 }), { requests: ['q'], next_cursor: null }, undefined, '?type=received&cursor=a+b&limit=7'],
    ['GET /api/v1/friends', () => client.getFriends(), ['f']],
    ['DELETE /api/v1/friends/user_bob', () => client.removeFriend('user_bob'), null],
    ['POST /api/v1/rooms/create', () => client.createRoom('Mine', true, { maxParticipants: 9 }), answer, { name: 'Mine', is_friends_only: true, max_participants: 9 }],
    ['POST /api/v1/rooms/create', () => client.createRoom(), answer, { is_friends_only: false }],
    ['GET /api/v1/rooms/room_1', () => client.getRoom('room_1'), answer],
    ['GET /api/v1/rooms', () => client.getRooms(), ['r']],
    ['DELETE /api/v1/rooms/room_1', () => client.closeRoom('room_1'), null],
    ['POST /api/v1/auth/username', () => client.setUsername('anna'), answer, { username: 'anna' }],
  ];
  for (const [route, call, expected, body, query] of calls) {
    peer.routes[route] = () => (expected === null ? [204] : [200, answer]);
    assert.deepEqual(await call(), expected, route);
    const received = await peer.log.next(route);
    assert.equal(received.token, 'ann-1');
    assert.deepEqual(received.body, body, route);
    if (query) assert.ok(received.url.endsWith(query), received.url);
  }
});
