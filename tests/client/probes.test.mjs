import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerClock } from '../../static/core/clock.js';
import { ClockProbes } from '../../static/core/probes.js';
import { FakeTime, seededRandom } from './support.mjs';

function setUp() {
  const time = new FakeTime();
  const clock = new ServerClock({ now: time.now, initialOffsetMs: 0 });
  const sent = [];
  const probes = new ClockProbes({ clock, time, send: (payload) => sent.push({ atMs: time.now(), payload }) });
  return { time, clock, sent, probes };
}

test('a burst on connecting, then steadily', () => {
  const { time, sent, probes } = setUp();
  probes.start();
  time.advance(1000);
  assert.ok(sent.length >= 10, `${sent.length} in the first second`);
  const burst = sent.length;
  time.advance(60_000);
  assert.ok(sent.length - burst >= 28 && sent.length - burst <= 58, `${sent.length - burst} a minute`);
});

test('however often the page wakes, the server never has to refuse a probe', () => {
  const { time, sent, probes } = setUp();
  const random = seededRandom(7);
  probes.start();
  for (let i = 0; i < 400; i += 1) {
    time.advance(random() * 3000);
    probes.burst();
  }
  // The server's bucket: 60 a minute, 20 deep.
  let tokens = 20;
  let atMs = sent[0].atMs;
  for (const probe of sent) {
    tokens = Math.min(20, tokens + (probe.atMs - atMs) / 1000) - 1;
    atMs = probe.atMs;
    assert.ok(tokens >= 0, `refused at ${atMs} ms`);
  }
  assert.ok(sent.length > 300, `${sent.length} probes`);
});

test('a new connection has a budget of its own, and bursts again', () => {
  const { time, sent, probes } = setUp();
  probes.start();
  time.advance(700);
  probes.burst();
  time.advance(700);
  probes.stop();
  const before = sent.length;
  probes.start();
  time.advance(1500);
  assert.ok(sent.length - before >= 12, `${sent.length - before} after reconnecting`);
});

/** An answer that took `tookMs`, from a server that is `offsetMs` ahead of this device. */
function answer(time, offsetMs, tookMs = 10) {
  const sentMs = time.now() - tookMs;
  const serverMs = sentMs + tookMs / 2 + offsetMs;
  return { sentMs, receivedMs: serverMs, answeredMs: serverMs, returnedMs: time.now() };
}

test('what else the server answers tells the time as well, also before the connection', () => {
  const { time, clock, probes } = setUp();
  for (let i = 0; i < 20; i += 1) {
    time.advance(50);
    probes.onAnswer(answer(time, 5000));
  }
  assert.equal(clock.ready, true);
  probes.start();
  assert.ok(Math.abs(clock.offsetMs - 5000) < 0.1, `${clock.offsetMs}`);
  assert.ok(clock.uncertaintyMs < 1, `${clock.uncertaintyMs}`);
});

test('an answer out of somebody’s cache is not believed', () => {
  const { time, clock, probes } = setUp();
  for (let i = 0; i < 20; i += 1) {
    time.advance(50);
    probes.onAnswer(answer(time, 5000));
  }
  probes.onAnswer(answer(time, 5000 - 3_600_000));
  probes.onAnswer({ ...answer(time, 0), receivedMs: NaN, answeredMs: NaN });
  assert.ok(Math.abs(clock.offsetMs - 5000) < 0.1, `${clock.offsetMs}`);
});

test('nothing is sent once the connection is gone', () => {
  const { time, sent, probes } = setUp();
  probes.start();
  time.advance(1000);
  probes.stop();
  const before = sent.length;
  probes.burst();
  time.advance(60_000);
  assert.equal(sent.length, before);
  assert.equal(time.pending, 0);
});

test('an answer sets the clock; one nobody asked for does not, nor does a second to the same probe', () => {
  const { time, clock, sent, probes } = setUp();
  probes.start();
  const answer = (client) => probes.onPong({ timestamp: '', client_time_ms: client, received_ms: 9_000_000, sent_ms: 9_000_000 });
  answer(123456);
  assert.ok(Number.isNaN(clock.rttMs));
  time.advance(10);
  // Off in its last bit, as some JSON readers make it.
  answer(sent[0].payload.client_time_ms * (1 + Number.EPSILON));
  assert.equal(clock.rttMs, 10);
  assert.ok(Math.abs(clock.serverNow() - 9_000_005) < 0.001);
  time.advance(30);
  answer(sent[0].payload.client_time_ms);
  assert.ok(Math.abs(clock.serverNow() - 9_000_035) < 0.001);
});
