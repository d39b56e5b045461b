import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reports } from '../../static/core/reports.js';
import { Meter } from '../../static/player/meter.js';
import { FakeTime } from './support.mjs';

const settled = () => new Promise((resolve) => { setImmediate(resolve); });

function setUp() {
  const time = new FakeTime();
  const world = { time, sent: [], inRoom: true, answer: () => Promise.resolve({}) };
  world.reports = new Reports({
    time, random: () => 0.5, maySend: () => world.inRoom,
    send: (report) => { world.sent.push(report); return world.answer(); },
  });
  return world;
}

test('a report soon after coming in, then one every ten seconds', () => {
  const { time, sent, reports } = setUp();
  reports.start(() => ({ round_trip_ms: 30 }));
  time.advance(3_000);
  assert.equal(sent.length, 1);
  time.advance(60_000);
  assert.equal(sent.length, 7);
  reports.stop();
  time.advance(60_000);
  assert.equal(sent.length, 7);
  assert.equal(time.pending, 0);
});

test('nothing is said outside a room, or while there is nothing to say', () => {
  const world = setUp();
  let known = null;
  world.reports.start(() => known);
  world.time.advance(20_000);
  known = { round_trip_ms: 30 };
  world.inRoom = false;
  world.time.advance(20_000);
  assert.deepEqual(world.sent, []);
  world.inRoom = true;
  world.time.advance(10_000);
  assert.equal(world.sent.length, 1);
});

test('a server that knows no reports is told none, until another one may be there', async () => {
  const world = setUp();
  world.answer = () => Promise.reject(Object.assign(new Error('what?'), { code: 'INVALID_REQUEST' }));
  world.reports.start(() => ({ round_trip_ms: 30 }));
  world.time.advance(3_000);
  await settled();
  world.time.advance(60_000);
  assert.equal(world.sent.length, 1);
  world.reports.onUp();
  world.time.advance(10_000);
  assert.equal(world.sent.length, 2);
});

test('one that does not answer is told again', async () => {
  const world = setUp();
  world.answer = () => Promise.reject(Object.assign(new Error('late'), { code: 'UNAVAILABLE' }));
  world.reports.start(() => ({ round_trip_ms: 30 }));
  world.time.advance(3_000);
  await settled();
  world.time.advance(10_000);
  assert.equal(world.sent.length, 2);
});

test('the meter tells the median of the last seconds, and of all since the last report', () => {
  const meter = new Meter();
  assert.equal(meter.typical(0), null);
  assert.equal(meter.take(), null);
  for (const [at, offset] of [[0, 0.010], [100, -0.002], [200, 0.003]]) meter.add(offset, at);
  assert.equal(meter.typical(300), 3);
  assert.equal(meter.take(), 3);
  assert.equal(meter.take(), null);
  assert.equal(meter.typical(10_000), null, 'too long ago');
  meter.add(0.004, 11_000);
  meter.add(null, 11_100);
  assert.equal(meter.typical(11_200), null, 'the room has jumped');
  assert.equal(meter.take(), 4);
});
