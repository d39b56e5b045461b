// Several tabs of one browser share a session, and answers get lost. The server here keeps the rules of the real one, whose
// own tests are in services/auth/tests/stories/sessions.rs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../static/core/errors.js';
import { SessionKeeper } from '../../static/core/session.js';
import { FakeTime, settled } from './support.mjs';

const AGAIN_MS = 30_000;

/** @param {number} generation */
const accessToken = (generation) => `x.${btoa(JSON.stringify({ sid: 'sess_1', exp: 9e9, generation }))}.x`;

/** A server that lets a token be traded again while nobody has used its successor. */
class Server {
  /** @type {Map<string, {usedMs?: number, replacedMs?: number, successor?: string}>} */
  tokens = new Map([['r1', {}]]);
  isOver = false;
  calls = 0;

  /** @param {FakeTime} time */
  constructor(time) {
    this.time = time;
  }

  /** @param {string} token */
  trade(token) {
    this.calls += 1;
    const known = this.tokens.get(token);
    const refuse = () => {
      throw new ApiError({ status: 401, code: 'AUTH_REQUIRED', detail: 'dead' });
    };
    const end = () => {
      this.isOver = true;
      return refuse();
    };
    if (!known || this.isOver) return refuse();
    const isRecent = (/** @type {number} */ sinceMs) => this.time.now() < sinceMs + AGAIN_MS;
    if (known.replacedMs !== undefined) return isRecent(known.replacedMs) ? refuse() : end();
    if (known.usedMs !== undefined) {
      const successor = this.tokens.get(known.successor ?? '');
      if (!successor || successor.usedMs !== undefined || !isRecent(known.usedMs)) return end();
      successor.usedMs = successor.replacedMs = this.time.now();
    }
    known.usedMs ??= this.time.now();
    const generation = this.tokens.size + 1;
    known.successor = `r${generation}`;
    this.tokens.set(known.successor, {});
    return { access_token: accessToken(generation), refresh_token: known.successor, expires_in: 900, generation };
  }
}

const FIRST = { access_token: accessToken(1), refresh_token: 'r1', expires_in: 900, generation: 1, user: { user_id: 'user_ann', username: 'ann', name: null } };

/** What tabs share; each of them may see it late. */
function storage() {
  const history = [/** @type {any} */ (FIRST)];
  return {
    write: (/** @type {any} */ session) => void history.push(session),
    /** @param {number} lag how many of the last changes are not seen yet */
    read: (lag = 0) => history[Math.max(0, history.length - 1 - lag)],
  };
}

/** @param {Server} server @param {ReturnType<typeof storage>} shared @param {Record<string, unknown>} [parts] */
function tab(server, shared, parts) {
  const keeper = new SessionKeeper(shared.read(), {
    time: server.time,
    spend: async (token) => {
      await settled();
      return server.trade(token);
    },
    loadSession: () => shared.read(),
    onSession: shared.write,
    ...parts,
  });
  return keeper;
}

/** Lets everything happen that waits for time or for others. @param {FakeTime} time */
async function settle(time) {
  for (let turn = 0; turn < 30; turn += 1) {
    await settled();
    time.advance(200);
  }
}

test('an answer that was lost costs nothing: the same token is spent again', async () => {
  const server = new Server(new FakeTime());
  const shared = storage();
  let lost = 2;
  const ours = tab(server, shared, {
    spend: async (/** @type {string} */ token) => {
      const answer = server.trade(token);
      if (lost-- > 0) throw new ApiError({ status: 0, code: 'UNAVAILABLE', detail: 'the line is cut' });
      return answer;
    },
  });
  for (let times = 0; times < 2; times += 1) {
    await assert.rejects(ours.refresh(FIRST.access_token), { code: 'UNAVAILABLE' });
    server.time.advance(5000);
  }
  assert.equal(await ours.refresh(FIRST.access_token), accessToken(4));
  server.time.advance(AGAIN_MS);
  assert.equal(await ours.refresh(accessToken(4)), accessToken(5));
  assert.equal(shared.read().refresh_token, 'r5');
  assert.ok(!shared.read().renewing);
});

test('a page that is loaded again while it waits renews at once, before it is too late', async () => {
  const server = new Server(new FakeTime());
  const shared = storage();
  const before = tab(server, shared, {
    spend: (/** @type {string} */ token) => {
      server.trade(token);
      return new Promise(() => {});
    },
  });
  void before.refresh(FIRST.access_token);
  await settled();
  assert.equal(shared.read().renewing, true);
  const after = tab(server, shared);
  after.startRenewing();
  // The server says that the access token is good for another minute.
  after.setRemaining(58_000);
  await settle(server.time);
  assert.equal(after.session?.refresh_token, 'r3');
  server.time.advance(AGAIN_MS);
  assert.equal(await after.refresh(accessToken(3)), accessToken(4));
});

for (const lagMs of [0, 50, 700]) {
  test(`two tabs that see ${lagMs} ms late what the other one stores renew by turns, without locks`, async () => {
    const server = new Server(new FakeTime());
    /** @type {{session: any, atMs: number, by: number}[]} */
    const history = [{ session: FIRST, atMs: 0, by: 2 }];
    const read = (/** @type {number} */ reader) =>
      history.findLast(({ atMs, by }) => by === reader || atMs + lagMs <= server.time.now())?.session;
    const tabs = [0, 1].map((by) => tab(server, storage(), {
      loadSession: () => read(by),
      onSession: (/** @type {any} */ session) => void history.push({ session, atMs: server.time.now(), by }),
    }));
    for (let round = 0; round < 40; round += 1) {
      // One, the other, or both at once; what the one has stored is not always there yet.
      const who = [[0], [1], [0, 1], [1, 0]][round % 4];
      const renewed = who.map((number) => tabs[number].refresh(/** @type {any} */ (tabs[number].session).access_token));
      await settle(server.time);
      await Promise.all(renewed);
      // As the event that tells of storage does.
      for (const each of tabs) await each.heedStored();
      await settle(server.time);
      server.time.advance(round % 3 ? 800_000 : 100);
    }
    assert.ok(!server.isOver);
    for (const each of tabs) assert.ok(each.session, 'both are logged in');
  });
}

test('two tabs that renew at the same moment without locks end with the same live token, whoever is answered first', async () => {
  for (let order = 0; order < 24; order += 1) {
    const server = new Server(new FakeTime());
    const shared = storage();
    /** @type {(() => void)[]} */
    const waiting = [];
    const tabs = [0, 1].map(() => tab(server, shared, {
      spend: async (/** @type {string} */ token) => {
        const answer = server.trade(token);
        await new Promise((resolve) => void waiting.push(() => resolve(undefined)));
        return answer;
      },
    }));
    const both = tabs.map((each) => each.refresh(FIRST.access_token));
    await settled();
    assert.equal(waiting.length, 2);
    const answers = order % 2 ? waiting.reverse() : waiting;
    for (const [number, answer] of answers.entries()) {
      answer();
      for (let turn = 0; turn < (order >> 1) * (1 - number); turn += 1) await Promise.resolve();
    }
    await Promise.all(both);
    for (const each of [...tabs, ...tabs]) await each.heedStored();
    assert.deepEqual(tabs.map((each) => each.session?.refresh_token), ['r3', 'r3'], `order ${order}`);
    assert.equal(shared.read().refresh_token, 'r3', `order ${order}`);
    assert.ok(!server.isOver);
  }
});

test('who is refused looks for what another tab has stored, now and a moment later, before giving up', async () => {
  for (const isLate of [false, true]) {
    const server = new Server(new FakeTime());
    const shared = storage();
    const replaced = { ...FIRST, ...server.trade('r1') };
    const newer = { ...FIRST, ...server.trade('r1') };
    shared.write(replaced);
    /** @type {any} what the unlucky one sees */
    let seen = replaced;
    const unlucky = tab(server, shared, { loadSession: () => seen });
    shared.write(newer);
    const other = tab(server, shared);
    if (!isLate) seen = newer;
    const token = unlucky.refresh(replaced.access_token);
    // What it says before it spends its token hides what is newer: who has that says it again.
    for (let turn = 0; turn < 5; turn += 1) await settled();
    await other.heedStored();
    seen = shared.read();
    await settle(server.time);
    assert.equal(await token, newer.access_token);
    assert.equal(unlucky.session?.refresh_token, newer.refresh_token);
    assert.equal(server.calls, isLate ? 3 : 2);
    assert.ok(!server.isOver);
  }
});

test('who is refused and finds nothing newer is logged out, once, after a moment', async () => {
  const server = new Server(new FakeTime());
  const shared = storage();
  server.isOver = true;
  const told = /** @type {any[]} */ ([]);
  const ours = tab(server, shared, { onSession: (/** @type {any} */ session) => void (told.push(session), shared.write(session)) });
  const refused = assert.rejects(ours.refresh(FIRST.access_token), { status: 401 });
  await settle(server.time);
  await refused;
  assert.equal(ours.session, null);
  assert.deepEqual(told.map((session) => session?.refresh_token ?? null), ['r1', null]);
  assert.equal(server.calls, 1);
});

test('an older state that was stored over ours is put right', async () => {
  const server = new Server(new FakeTime());
  const shared = storage();
  const ours = tab(server, shared);
  await ours.refresh(FIRST.access_token);
  shared.write(FIRST);
  await ours.heedStored();
  assert.equal(shared.read().refresh_token, 'r2');
  // Another session of the same user is no older state of this one.
  const other = { ...FIRST, access_token: `x.${btoa(JSON.stringify({ sid: 'sess_2' }))}.x`, refresh_token: 'q1' };
  shared.write(other);
  await ours.heedStored();
  assert.equal(shared.read().refresh_token, 'q1');
  assert.equal(ours.session?.refresh_token, 'q1');
});
