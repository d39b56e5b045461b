import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../static/core/errors.js';
import { SessionKeeper } from '../../static/core/session.js';
import { FakeTime, settled } from './support.mjs';

/** A lock all tabs of a browser share. */
function sharedLocks() {
  let tail = Promise.resolve();
  return {
    request(_name, _options, run) {
      const turn = tail.then(run);
      tail = turn.catch(() => {});
      return turn;
    },
  };
}

/** A server whose refresh tokens work once; spending a dead one kills everything. */
function refreshServer() {
  const server = { live: 'r1', family: true, calls: 0, next: 1 };
  server.spend = async (token) => {
    server.calls += 1;
    await settled();
    if (!server.family || token !== server.live) {
      server.family = false;
      throw new ApiError({ status: 401, code: 'AUTH_REQUIRED', detail: 'dead' });
    }
    server.next += 1;
    server.live = `r${server.next}`;
    return { access_token: `a${server.next}`, refresh_token: server.live, expires_in: 900 };
  };
  return server;
}

function keeper(server, parts = {}, session = { access_token: 'a1', refresh_token: 'r1', user: { user_id: 'user_ann' } }) {
  const told = [];
  const made = new SessionKeeper(session, {
    time: new FakeTime(), spend: server.spend, onSession: (s) => void told.push(s), ...parts,
  });
  return Object.assign(made, { told });
}

test('however many ask at once, one refresh token is spent', async () => {
  const server = refreshServer();
  const ours = keeper(server);
  const tokens = await Promise.all([ours.refresh('a1'), ours.refresh('a1'), ours.refresh('a1')]);
  assert.deepEqual(tokens, ['a2', 'a2', 'a2']);
  assert.equal(server.calls, 1);
  assert.equal(ours.told.length, 1);
  assert.equal(ours.told[0].user.user_id, 'user_ann', 'what refresh does not say again is kept');
});

test('who comes late with the old token gets the new one for nothing', async () => {
  const server = refreshServer();
  const ours = keeper(server);
  await ours.refresh('a1');
  assert.equal(await ours.refresh('a1'), 'a2');
  assert.equal(server.calls, 1);
});

test('two tabs never spend the same refresh token', async () => {
  const server = refreshServer();
  const locks = sharedLocks();
  let stored = { access_token: 'a1', refresh_token: 'r1' };
  const tab = () => keeper(server, { locks, loadSession: () => stored, onSession: (s) => { stored = s; } });
  const [one, two] = [tab(), tab()];
  assert.deepEqual(await Promise.all([one.refresh('a1'), two.refresh('a1')]), ['a2', 'a2']);
  assert.equal(server.calls, 1);
  assert.equal(server.family, true);
  assert.equal(two.session.refresh_token, 'r2');
});

test('another tab reads the stored session only when ours is stored', async () => {
  const server = refreshServer();
  const locks = sharedLocks();
  let stored = { access_token: 'a1', refresh_token: 'r1' };
  const slowly = async (s) => { await settled(); await settled(); stored = s; };
  const [one, two] = [1, 2].map(() => keeper(server, { locks, loadSession: () => stored, onSession: slowly }));
  await Promise.all([one.refresh('a1'), two.refresh('a1')]);
  assert.equal(server.calls, 1);
});

test('a stored session that has itself run out is refreshed in turn', async () => {
  const server = Object.assign(refreshServer(), { live: 'r7', next: 7 });
  const over = `x.${btoa(JSON.stringify({ exp: 1000 }))}.x`;
  const ours = keeper(server, { loadSession: () => ({ access_token: over, refresh_token: 'r7' }), wallNow: () => 2_000_000 });
  assert.equal(await ours.refresh('a1'), 'a8');
});

test('a stored session older than ours, or somebody else\'s, is left alone', async () => {
  const server = refreshServer();
  const ours = keeper(server, { loadSession: () => ({ access_token: 'a1', refresh_token: 'r1' }) });
  await ours.refresh('a1');
  assert.equal(await ours.refresh('a2'), 'a3', 'r1 is spent, so what is stored is older');

  const other = { access_token: 'b1', refresh_token: 'q1', user: { user_id: 'user_bob' } };
  assert.equal(await keeper(refreshServer(), { loadSession: () => other }).refresh('a1'), 'a2');
});

test('a dead refresh token ends the session, and says so once', async () => {
  const server = Object.assign(refreshServer(), { family: false });
  const ours = keeper(server);
  await assert.rejects(ours.refresh('a1'), { status: 401, code: 'AUTH_REQUIRED' });
  assert.deepEqual(ours.told, [null]);
  assert.equal(ours.session, null);
  await assert.rejects(ours.token(), { code: 'AUTH_REQUIRED' });
  assert.deepEqual(ours.told, [null]);
});

test('a server that does not answer costs nothing: the session stays', async () => {
  const server = refreshServer();
  let down = true;
  const spend = (token) => (down ? Promise.reject(new ApiError({ status: 503, code: 'UNAVAILABLE', detail: 'down' })) : server.spend(token));
  const ours = keeper(server, { spend });
  await assert.rejects(ours.refresh('a1'), { code: 'UNAVAILABLE' });
  assert.deepEqual(ours.told, []);
  down = false;
  assert.equal(await ours.refresh('a1'), 'a2');
});

test('a token about to run out is refreshed before it is used', async () => {
  const time = new FakeTime();
  const ours = keeper(refreshServer(), { time });
  ours.setRemaining(900_000);
  time.advance(830_000);
  assert.equal(await ours.token(), 'a1');
  time.advance(20_000);
  assert.equal(await ours.token(), 'a2');
});

test('a socket\'s token is renewed unasked, and again, and not after it is gone', async () => {
  const time = new FakeTime();
  const server = refreshServer();
  const renewed = [];
  const ours = keeper(server, { time, onRenewed: (token) => renewed.push(token) });
  ours.startRenewing();
  ours.setRemaining(900_000);
  for (let i = 0; i < 2; i += 1) {
    time.advance(850_000);
    await ours.refresh(ours.session.access_token === 'a1' ? 'a1' : 'a2').catch(() => {});
    await settled();
  }
  assert.deepEqual(renewed, ['a2', 'a3']);
  ours.stopRenewing();
  time.advance(10_000_000);
  await settled();
  assert.equal(server.calls, 2);
});

test('a renewal that fails for the moment is tried again', async () => {
  const time = new FakeTime();
  let tries = 0;
  const spend = async () => {
    tries += 1;
    throw new ApiError({ status: 503, code: 'UNAVAILABLE', detail: 'down' });
  };
  const ours = keeper({ spend }, { time });
  ours.startRenewing();
  ours.setRemaining(100_000);
  for (let i = 0; i < 3; i += 1) {
    time.advance(i === 0 ? 80_000 : 5_000);
    await settled();
  }
  assert.equal(tries, 3);
  ours.stopRenewing();
});

test('what refresh answers after the session has ended does not bring it back', async () => {
  const server = refreshServer();
  const spend = async (token) => {
    await ours.forget();
    return server.spend(token);
  };
  const ours = keeper(server, { spend });
  await assert.rejects(ours.refresh('a1'), { code: 'AUTH_REQUIRED' });
  assert.equal(ours.session, null);
  assert.deepEqual(ours.told, [null]);
});

test('new data about the user do not cost a refresh that is under way', async () => {
  const ours = keeper(refreshServer());
  const refreshing = ours.refresh('a1');
  ours.setUser({ user_id: 'user_ann', username: 'annie', name: null });
  await refreshing;
  assert.equal(ours.session.refresh_token, 'r2');
  assert.equal(ours.session.user.username, 'annie');
});

test('logging out spends the newest token there is, also one just being made', async () => {
  const ours = keeper(refreshServer());
  const refreshing = ours.refresh('a1');
  const ended = [];
  await ours.end(async (token) => ended.push(token));
  await refreshing;
  assert.deepEqual(ended, ['r2']);
  assert.equal(ours.session, null);
});
