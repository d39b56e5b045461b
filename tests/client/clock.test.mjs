import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerClock } from '../../static/core/clock.js';
import { seededRandom } from './support.mjs';

const SERVER_EPOCH = 1_700_000_000_000;

/**
 * A device, a server and the way between them. `trueMs` is time itself; the server shows it from its
 * epoch on, the device's local clock may run fast.
 */
function simulate({ seed = 1, up = () => 0.2, down = () => 0.2, ppm = 0, initialOffsetMs = 0 } = {}) {
  const random = seededRandom(seed);
  const sim = { trueMs: 5000, serverStepMs: 0, sleptMs: 0 };
  const local = (trueMs) => (trueMs - sim.sleptMs) * (1 + ppm * 1e-6);
  const server = (trueMs) => SERVER_EPOCH + trueMs + sim.serverStepMs;
  const clock = new ServerClock({ now: () => local(sim.trueMs), initialOffsetMs });
  /** One probe, and then silence until `gapMs` after it left. */
  const probe = (gapMs) => {
    const sent = sim.trueMs;
    const received = sent + up(random);
    const returned = received + 0.05 + down(random);
    sim.trueMs = returned;
    const told = clock.serverNow();
    clock.addSample({ sentMs: local(sent), receivedMs: server(received), answeredMs: server(received + 0.05), returnedMs: local(returned) });
    sim.jumpMs = clock.serverNow() - told;
    sim.trueMs = Math.max(returned, sent + gapMs);
  };
  return Object.assign(sim, {
    clock,
    probe,
    localNow: () => local(sim.trueMs),
    errorMs: () => clock.serverNow() - server(sim.trueMs),
    /** As the client probes: a burst, then steadily. */
    run(seconds) {
      const endMs = sim.trueMs + seconds * 1000;
      for (let i = 0; i < 12; i += 1) probe(50);
      while (sim.trueMs < endMs) probe(1250);
    },
  });
}

const jittery = (random) => 40 + 80 * random();

function assertWithin(actual, limit, what) {
  assert.ok(Math.abs(actual) <= limit, `${what}: ${actual.toFixed(3)} ms off, at most ${limit} allowed`);
}

test('on a clean network the clock is exact after one burst', () => {
  const sim = simulate();
  sim.run(1);
  assertWithin(sim.errorMs(), 0.05, 'clean');
  assertWithin(sim.clock.rttMs - 0.4, 0.01, 'round trip');
});

test('a wrong wall clock is only a guess, and gone with the third probe', () => {
  const sim = simulate({ initialOffsetMs: SERVER_EPOCH + 37_000 });
  assert.equal(sim.clock.ready, false);
  assertWithin(sim.errorMs() - 37_000, 0.01, 'before the first probe');
  for (let i = 0; i < 3; i += 1) sim.probe(50);
  assert.equal(sim.clock.ready, true);
  assertWithin(sim.errorMs(), 0.1, 'after three probes');
});

test('80 ± 40 ms of jitter each way leaves a few milliseconds', () => {
  const at25 = [];
  for (let seed = 1; seed <= 30; seed += 1) {
    const sim = simulate({ seed, up: jittery, down: jittery });
    sim.run(25);
    at25.push(Math.abs(sim.errorMs()));
  }
  at25.sort((a, b) => a - b);
  assertWithin(at25[15], 1.5, 'median');
  assertWithin(at25[28], 5, 'p95');
});

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean error of thirty lines after ten seconds, ms. */
function meanErrorMs({ up, down }) {
  return mean(Array.from({ length: 30 }, (_, seed) => {
    const sim = simulate({ seed: seed + 1, up, down });
    sim.run(10);
    return Math.abs(sim.errorMs());
  }));
}

test('where jitter ends sharply, the slowest ways tell the time as the fastest do', () => {
  const both = meanErrorMs({ up: jittery, down: jittery });
  // The same gaps at the lower end, and none above that tells anything.
  const open = (random) => (random() < 0.5 ? 40 + 40 * random() : 80 - 200 * Math.log(1 - random()));
  const lower = meanErrorMs({ up: open, down: open });
  assert.ok(both < 0.68 * lower, `${both.toFixed(2)} ms with both ends, ${lower.toFixed(2)} ms with one`);
});

test('slow ways that are as late as they please, or only one way, say nothing', () => {
  const spiky = (random) => (random() < 0.8 ? 40 + 5 * random() : 40 + 200 * random());
  assertWithin(meanErrorMs({ up: spiky, down: spiky }), 0.5, 'spikes');
  // Uneven up, hardly uneven down: the fastest ways are right, the slowest are 30 ms off.
  const even = (random) => 40 + 20 * random();
  assertWithin(meanErrorMs({ up: jittery, down: even }), 2.5, 'one way');
});

test('the fastest way up and the fastest way down need not be one probe', () => {
  // Every probe is slow one way, alternately: the fastest single one is 50 ms off.
  let turn = 0;
  const sim = simulate({ up: () => (turn % 2 ? 100 : 10), down: () => (turn++ % 2 ? 10 : 110) });
  sim.run(1);
  assertWithin(sim.errorMs(), 0.1, 'alternating');
});

test('a way that is always longer in one direction costs half the difference, no more', () => {
  const sim = simulate({ up: () => 10, down: () => 50 });
  sim.run(5);
  assertWithin(sim.errorMs() + 20, 0.1, 'asymmetric');
});

test('stalls do not move the clock', () => {
  let stalled = false;
  const sim = simulate({ up: (r) => 5 + r() + (stalled ? 2000 : 0), down: (r) => 5 + r() });
  sim.run(5);
  stalled = true;
  for (let i = 0; i < 8; i += 1) {
    sim.probe(1250);
    assertWithin(sim.errorMs(), 0.6, `stall ${i}`);
  }
});

test('a clock 200 ppm fast is followed', () => {
  const sim = simulate({ up: (r) => 15 + 10 * r(), down: (r) => 15 + 10 * r(), ppm: 200 });
  sim.run(60);
  for (let i = 0; i < 100; i += 1) {
    sim.probe(1250);
    assertWithin(sim.errorMs(), 2, `after ${60 + i * 1.25} s`);
  }
  assertWithin(sim.clock.drift * 1e6 + 200, 40, 'drift in ppm');
});

test('a clock 200 ppm fast is followed under strong jitter too, well before two minutes are over', () => {
  const errors = { first: [], later: [] };
  for (let seed = 1; seed <= 30; seed += 1) {
    const sim = simulate({ seed, up: jittery, down: jittery, ppm: 200 });
    sim.run(1);
    for (let i = 0; i < 88; i += 1) {
      sim.probe(1250);
      const list = i < 48 ? errors.first : errors.later;
      list.push(Math.abs(sim.errorMs()));
    }
  }
  const at = (list, share) => list.sort((a, b) => a - b)[Math.floor(share * list.length)];
  assertWithin(at(errors.first, 0.5), 3, 'median of the first minute');
  assertWithin(at(errors.first, 0.95), 8.5, 'p95 of the first minute');
  assertWithin(at(errors.later, 0.5), 1.6, 'median after it');
  assertWithin(at(errors.later, 0.95), 7, 'p95 after it');
});

test('jitter alone does not pass for drift', () => {
  const errors = [];
  for (let seed = 1; seed <= 30; seed += 1) {
    const sim = simulate({ seed, up: jittery, down: jittery });
    sim.run(1);
    for (let i = 0; i < 88; i += 1) {
      sim.probe(1250);
      if (i > 16) errors.push(Math.abs(sim.errorMs()));
    }
  }
  errors.sort((a, b) => a - b);
  assertWithin(errors[errors.length >> 1], 1.4, 'median');
  assertWithin(errors[Math.floor(0.95 * errors.length)], 4.5, 'p95');
});

test('a server clock that was set is noticed at once', () => {
  const sim = simulate({ up: (r) => 5 + r(), down: (r) => 5 + r() });
  sim.run(30);
  sim.serverStepMs = -700;
  for (let i = 0; i < 3; i += 1) sim.probe(50);
  assertWithin(sim.errorMs(), 1, 'after three probes');
});

test('a device whose clock stood still while it slept is put right', () => {
  const sim = simulate({ up: (r) => 5 + r(), down: (r) => 5 + r() });
  sim.run(30);
  sim.sleptMs = 3_600_000;
  sim.trueMs += 3_600_000;
  sim.probe(50);
  sim.probe(50);
  assertWithin(sim.errorMs(), 1, 'after waking');
});

test('once settled, small corrections are slewed: no jump, and never more than half a percent', () => {
  let corrected = 0;
  for (let seed = 1; seed <= 10; seed += 1) {
    const sim = simulate({ seed, up: jittery, down: jittery });
    for (let i = 0; i < 13; i += 1) sim.probe(50);
    for (let i = 0; i < 40; i += 1) {
      const before = { local: sim.localNow(), server: sim.clock.serverNow() };
      sim.probe(1250);
      // At today's epoch a number of milliseconds is good to a quarter of a microsecond.
      assertWithin(sim.jumpMs, 0.001, `seed ${seed}, probe ${i}`);
      const passedMs = sim.localNow() - before.local;
      const movedMs = sim.clock.serverNow() - before.server - passedMs;
      assertWithin(movedMs, 0.0056 * passedMs, `seed ${seed}, after probe ${i}`);
      if (Math.abs(movedMs) > 1) corrected += 1;
    }
  }
  assert.ok(corrected > 10, `only ${corrected} corrections: nothing was tested`);
});

test('a large correction is not slewed', () => {
  const sim = simulate();
  sim.run(10);
  sim.serverStepMs = 300;
  sim.probe(50);
  assertWithin(sim.errorMs(), 0.1, 'after a step');
});

test('a new connection forgets the probes, not the time', () => {
  const sim = simulate();
  sim.run(5);
  sim.clock.restart();
  assert.equal(sim.clock.ready, true);
  assertWithin(sim.errorMs(), 0.05, 'after restart');
});

test('the first probes after a reconnection do not undo what is known', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const sim = simulate({ seed, up: jittery, down: jittery });
    sim.run(60);
    const before = Math.abs(sim.errorMs());
    sim.clock.restart();
    for (let i = 0; i < 11; i += 1) {
      sim.probe(50);
      assertWithin(sim.errorMs(), before + 5, `seed ${seed}, probe ${i}`);
    }
  }
});

test('unless they show that it is wrong: the other gateway\'s clock differs', () => {
  const sim = simulate({ up: () => 1, down: () => 1 });
  sim.run(60);
  sim.clock.restart();
  sim.serverStepMs = 60;
  sim.probe(50);
  assertWithin(sim.errorMs(), 0.1, 'after one probe');
});

test('a probe that cannot be true is ignored', () => {
  const sim = simulate();
  sim.run(1);
  const now = sim.localNow();
  const server = sim.clock.serverNow();
  assert.equal(sim.clock.addSample({ sentMs: now, receivedMs: server, answeredMs: server, returnedMs: now - 5 }), false);
  assert.equal(sim.clock.addSample({ sentMs: now - 1, receivedMs: server, answeredMs: server + 50, returnedMs: now }), false);
  assert.equal(sim.clock.addSample({ sentMs: now - 1, receivedMs: NaN, answeredMs: server, returnedMs: now }), false);
  assertWithin(sim.errorMs(), 0.05, 'unmoved');
});

test('local and server time turn into each other', () => {
  const sim = simulate({ up: jittery, down: jittery, ppm: 200 });
  sim.run(150);
  for (const ahead of [-1000, 0, 500, 5000]) {
    const local = sim.localNow() + ahead;
    assertWithin(sim.clock.toLocal(sim.clock.toServer(local)) - local, 0.001, `${ahead} ms ahead`);
  }
});
