import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SoundClock } from '../../static/player/sound-clock.js';
import { seededRandom } from './support.mjs';

/** A context makes its sound in pieces, and some time before it is heard. */
const PIECE_S = 0.1;
const MADE_AHEAD_S = 0.3;

/** What `getOutputTimestamp` says of a sound that lies `distance` seconds behind the page's clock; `stalls` are those of the page. */
function simulate({ clock = new SoundClock(), seed = 1, pace = 0, noise = 0.0002, wander = () => 0, stalls = () => 0 } = {}) {
  const random = seededRandom(seed);
  const sim = { at: 10, distance: 2.5 };
  return Object.assign(sim, {
    clock,
    /** @param {number} seconds */
    run(seconds, every = 0.02) {
      for (const end = sim.at + seconds; sim.at < end; sim.at += every) {
        sim.distance += pace * every;
        const told = sim.distance + wander(sim.at) + (random() - 0.5) * 2 * noise;
        const made = Math.floor((sim.at - sim.distance) / PIECE_S) * PIECE_S + MADE_AHEAD_S;
        clock.add(sim.at - told, sim.at * 1000, made, (sim.at + stalls(sim.at) * random()) * 1000);
      }
    },
    errorMs: () => 1000 * (clock.toContext(sim.at * 1000) - (sim.at - sim.distance)),
  });
}

/** @param {number} actual @param {number} limit */
function assertWithin(actual, limit) {
  assert.ok(Math.abs(actual) <= limit, `${actual.toFixed(3)} ms off, at most ${limit} allowed`);
}

test('a quiet device is known within a quarter of a second', () => {
  const sim = simulate();
  assert.equal(sim.clock.ready, false);
  sim.run(0.25);
  assert.equal(sim.clock.ready, true);
  assertWithin(sim.errorMs(), 0.2);
});

test('a device with a long buffer, which tells its time ten times a second, within half a second', () => {
  const sim = simulate();
  sim.run(0.5, 0.1);
  assert.equal(sim.clock.ready, true);
  assertWithin(sim.errorMs(), 0.3);
});

test('what a device says while it starts is not believed', () => {
  const sim = simulate({ wander: (at) => (at < 10.35 ? -0.25 + (at - 10) * 0.7 : 0) });
  sim.run(0.3);
  assert.equal(sim.clock.ready, false);
  sim.run(0.3);
  assertWithin(sim.errorMs(), 0.5);
});

test('what a young device says will do to begin by, and counts for little soon', () => {
  const sim = simulate({ wander: (at) => (at < 11.9 ? 0.003 : 0) });
  sim.run(1);
  assert.equal(sim.clock.ready, true);
  sim.run(3.5);
  assertWithin(sim.errorMs(), 0.3);
});

test('a device that never agrees with itself is believed in the end', () => {
  const sim = simulate({ noise: 0.006 });
  sim.run(1.3);
  assert.equal(sim.clock.ready, true);
  sim.run(10);
  assertWithin(sim.errorMs(), 2);
});

for (const dropOutMs of [85, 700]) {
  test(`a drop-out of ${dropOutMs} ms, after which all lies elsewhere, is followed within a second`, () => {
    const sim = simulate();
    sim.run(20);
    sim.distance += dropOutMs / 1000;
    sim.run(1);
    assertWithin(sim.errorMs(), 0.5);
  });
}

test('a drop-out of some milliseconds is followed within ten seconds', () => {
  const sim = simulate();
  sim.run(40);
  sim.distance += 0.015;
  sim.run(10);
  assertWithin(sim.errorMs(), 0.5);
});

test('what lies elsewhere for seconds while the context goes on as ever is no drop-out', () => {
  for (const by of [0.008, -0.02, 0.03]) {
    const sim = simulate({ wander: (at) => (at > 40 && at < 45 ? by : 0), stalls: () => 0.01 });
    sim.run(30);
    for (let i = 0; i < 100; i += 1) {
      sim.run(0.1);
      assertWithin(sim.errorMs(), 0.6);
    }
  }
});

test('lines that slant count little, even where there are more of them', () => {
  // Every other second the device finds back to the truth; in between it slants away.
  const sim = simulate({ noise: 0.00005, wander: (at) => (at % 3 < 1 ? 0 : 0.02 * ((at % 3) - 0.5)) });
  sim.run(20, 0.1);
  assertWithin(sim.errorMs(), 2);
});

test('wandering by some milliseconds for seconds on end moves it little', () => {
  const sim = simulate({ wander: (at) => (at > 30 && at < 33 ? 0.003 * Math.sin(((at - 30) / 3) * Math.PI) : 0) });
  sim.run(20);
  for (let i = 0; i < 30; i += 1) {
    sim.run(0.1);
    assertWithin(sim.errorMs(), 0.6);
  }
});

test('a sound card 200 ppm off is followed, and soon no longer from behind', () => {
  const sim = simulate({ pace: 200e-6 });
  sim.run(20);
  assertWithin(sim.errorMs(), 0.5);
  sim.run(60);
  assertWithin(sim.errorMs(), 0.25);
});

test('noise makes no pace', () => {
  // It comes in pieces of some seconds, as that of a kept waiting device does.
  const sim = simulate({ wander: (at) => 0.006 * Math.sin(Math.floor(at / 4) ** 2) });
  sim.run(20);
  for (let i = 0; i < 40; i += 1) {
    sim.run(1);
    assertWithin(sim.errorMs(), 4);
  }
});

test('another loudspeaker is learned anew', () => {
  const sim = simulate();
  sim.run(5);
  sim.clock.reset();
  assert.equal(sim.clock.ready, false);
  sim.distance = 7;
  sim.run(0.3);
  assertWithin(sim.errorMs(), 0.3);
});

test('the same word twice counts once, and none at all before the sound has begun', () => {
  const clock = new SoundClock();
  for (let i = 0; i < 100; i += 1) clock.add(0, 5000 + i, 0, 5000 + i);
  for (let i = 0; i < 100; i += 1) clock.add(1, 6000 + i, 1, 6000 + i);
  assert.equal(clock.ready, false);
});
