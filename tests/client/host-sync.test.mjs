import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostSync } from '../../static/core/host-sync.js';
import { FakeTime, settled } from './support.mjs';

function setUp() {
  const world = { time: new FakeTime(0), host: true, sent: [], errors: [], sampled: 0, answer: () => Promise.resolve({ version: 1, timestamp: '' }) };
  world.sync = new HostSync({
    time: world.time,
    maySend: () => world.host,
    serverNow: () => 5_000_000 + world.time.now(),
    send: (sample) => {
      world.sent.push({ atMs: world.time.now(), sample });
      return world.answer();
    },
    onError: (error) => world.errors.push(error),
  });
  world.getState = () => {
    world.sampled += 1;
    return { playback_state: { playing: true, position: world.time.now() / 1000 } };
  };
  /** Each tick gets its answer before the next. */
  world.pass = async (seconds) => {
    for (let i = 0; i < seconds; i += 1) {
      world.time.advance(1000);
      await settled();
    }
  };
  return world;
}

test('every tick samples the player and stamps the sample', async () => {
  const world = setUp();
  world.sync.start(world.getState, 1000);
  await world.pass(3);
  assert.deepEqual(world.sent.map((s) => s.atMs), [1000, 2000, 3000]);
  assert.equal(world.sent[2].sample.playback_state.timestamp_ms, 5_003_000);
  assert.equal(world.sent[2].sample.playback_state.position, 3);
});

test('the tick right after an immediate sync is skipped, the one after it is not', async () => {
  const world = setUp();
  world.sync.start(world.getState, 1000);
  await world.pass(1);
  world.time.advance(400);
  await world.sync.now();
  world.time.advance(600);
  assert.deepEqual(world.sent.map((s) => s.atMs), [1000, 1400]);
  await world.pass(1);
  assert.deepEqual(world.sent.map((s) => s.atMs), [1000, 1400, 3000]);
});

test('who does not host sends nothing, and is not even sampled; the timer goes on', async () => {
  const world = setUp();
  world.sync.start(world.getState, 1000);
  world.host = false;
  await world.pass(3);
  assert.equal(await world.sync.now(), null);
  assert.equal(world.sent.length, 0);
  assert.equal(world.sampled, 0);
  world.host = true;
  await world.pass(1);
  assert.equal(world.sent.length, 1);
});

test('one timer, however often it is started; none once it is stopped', async () => {
  const world = setUp();
  world.sync.start(world.getState, 1000);
  world.sync.start(world.getState, 1000);
  assert.equal(world.time.pending, 1);
  await world.pass(2);
  assert.equal(world.sent.length, 2);
  world.sync.stop();
  assert.equal(world.time.pending, 0);
  await world.pass(2);
  assert.equal(world.sent.length, 2);
});

test('a player that throws, or has nothing to say, does not end the sync', async () => {
  const world = setUp();
  let turn = 0;
  world.sync.start(() => {
    turn += 1;
    if (turn === 1) throw new Error('no player yet');
    return turn === 2 ? null : { playback_state: { playing: false, position: 0 } };
  }, 1000);
  await world.pass(3);
  assert.equal(world.errors.length, 1);
  assert.equal(world.sent.length, 1);
});

test('no more than two ticks wait for an answer', async () => {
  const world = setUp();
  let answer;
  world.answer = () => new Promise((resolve) => { answer = resolve; });
  world.sync.start(world.getState, 1000);
  await world.pass(5);
  assert.equal(world.sent.length, 2);
  answer({});
  await settled();
  await world.pass(1);
  assert.equal(world.sent.length, 3);
});

test('a refusal is told, but not one that crossed with losing the room', async () => {
  const world = setUp();
  world.answer = () => Promise.reject(Object.assign(new Error('slow down'), { code: 'RATE_LIMITED' }));
  world.sync.start(world.getState, 1000);
  await world.pass(1);
  assert.equal(world.errors[0].code, 'RATE_LIMITED');
  world.time.advance(1000);
  world.host = false;
  await settled();
  assert.equal(world.errors.length, 1);
});

test('stopped from within a tick, it stays stopped', async () => {
  const world = setUp();
  world.sync.start(() => {
    world.sync.stop();
    return null;
  }, 1000);
  await world.pass(1);
  assert.equal(world.time.pending, 0);
});
