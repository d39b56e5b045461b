import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SoundClock } from '../../static/player/sound-clock.js';
import { seededRandom } from './support.mjs';

/** What `getOutputTimestamp` says of a sound that lies `distance` seconds behind the page's clock. */
function simulate({ clock = new SoundClock(), seed = 1, pace = 0, noise = 0.0002, wander = () => 0 } = {}) {
  const random = seededRandom(seed);
  const sim = { at: 10, distance: 2.5 };
  return Object.assign(sim, {
    clock,
    /** @param {number} seconds */
    run(seconds, every = 0.02) {
      for (const end = sim.at + seconds; sim.at < end; sim.at += every) {
        sim.distance += pace * every;
        const told = sim.distance + wander(sim.at) + (random() - 0.5) * 2 * noise;
        clock.add(sim.at - told, sim.at * 1000);
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

test('what a young device says will do to begin by, and is forgotten soon', () => {
  const sim = simulate({ wander: (at) => (at < 11.9 ? 0.003 : 0) });
  sim.run(1);
  assert.equal(sim.clock.ready, true);
  sim.run(1.8);
  assertWithin(sim.errorMs(), 0.3);
});

test('a device that never agrees with itself is believed in the end', () => {
  const sim = simulate({ noise: 0.006 });
  sim.run(1.3);
  assert.equal(sim.clock.ready, true);
  sim.run(10);
  assertWithin(sim.errorMs(), 2);
});

test('a drop-out, after which all lies elsewhere, is followed at once', () => {
  const sim = simulate();
  sim.run(20);
  sim.distance += 0.085;
  sim.run(0.2);
  assertWithin(sim.errorMs(), 0.5);
});

test('wandering by some milliseconds for seconds on end moves it little', () => {
  const sim = simulate({ wander: (at) => (at > 30 && at < 33 ? 0.003 * Math.sin(((at - 30) / 3) * Math.PI) : 0) });
  sim.run(20);
  for (let i = 0; i < 30; i += 1) {
    sim.run(0.1);
    assertWithin(sim.errorMs(), 0.6);
  }
});

test('a sound card 200 ppm off is followed, and after a minute no longer from behind', () => {
  const sim = simulate({ pace: 200e-6 });
  sim.run(20);
  assertWithin(sim.errorMs(), 1.2);
  sim.run(60);
  assertWithin(sim.errorMs(), 0.25);
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
  for (let i = 0; i < 100; i += 1) clock.add(0, 5000 + i);
  for (let i = 0; i < 100; i += 1) clock.add(1, 6000 + i);
  assert.equal(clock.ready, false);
});
