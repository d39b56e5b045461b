// How `<audio>` is kept in place: a player that is started, knocked about and jitters, in time that the test moves.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Follower } from '../../static/player/follower.js';
import { seededRandom } from './support.mjs';

const STEP_MS = 5;

/** @param {import('node:test').TestContext} t */
function setUp(t, { jitterMs = 0.3, seed = 1, startsLate = 0.07, habits = {} } = {}) {
  const random = seededRandom(seed);
  const time = { now: 1000 };
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  mock.method(performance, 'now', () => time.now);
  /** Where the room is, and where the sound is: seconds. */
  const room = { playing: true, position: 30 };
  const sound = { position: 30, rate: 1, paused: true, rates: /** @type {number[]} */ ([]), seeks: 0 };
  const player = {
    habits: { seekAbove: 0.035, cooldownMs: 1500, settleMs: 100, samples: 4, bends: true, deadZone: 0.0015, startLag: 0.07, seekLag: 0.075, cueAhead: 0.3, ...habits },
    position: () => sound.position + ((random() - 0.5) * 2 * jitterMs) / 1000,
    duration: () => 600,
    paused: () => sound.paused,
    starved: () => false,
    play: async () => { sound.paused = false; sound.position -= startsLate; },
    pause: () => { sound.paused = true; },
    seek: async (/** @type {number} */ to) => { sound.seeks += 1; sound.position = to; },
    setRate: (/** @type {number} */ rate) => { sound.rates.push(rate); sound.rate = rate; },
  };
  const follower = new Follower({
    target: () => ({ playing: room.playing, position: room.position, startsAt: null, rate: 1 }),
    yields: () => false, onAdrift: () => undefined, onMeasure: () => undefined, onBlocked: () => undefined, onLearned: () => undefined,
  });
  t.after(() => {
    follower.stop();
    mock.reset();
    mock.timers.reset();
  });
  follower.attach(/** @type {any} */ (player));
  const errorMs = () => (sound.position - room.position) * 1000;
  return {
    sound, errorMs,
    /** @param {number} ms @param {() => boolean} [until] @returns {Promise<number>} how long it went on */
    async run(ms, until = () => false) {
      let passed = 0;
      for (; passed < ms && !until(); passed += STEP_MS) {
        time.now += STEP_MS;
        room.position += STEP_MS / 1000;
        if (!sound.paused) sound.position += (STEP_MS / 1000) * sound.rate;
        mock.timers.tick(STEP_MS);
        // What was waited for goes on.
        await Promise.resolve().then(() => undefined);
      }
      return passed;
    },
  };
}

test('a start is brought into place within a second', async (t) => {
  const { run, errorMs } = setUp(t);
  const took = await run(5000, () => Math.abs(errorMs()) > 1);
  assert.ok(took < 5000, 'it never started');
  await run(1500);
  assert.ok(Math.abs(errorMs()) < 3, `${errorMs()} ms`);
});

test('in place it is left alone', async (t) => {
  const { run, sound, errorMs } = setUp(t);
  await run(4000);
  sound.position += errorMs() / -1000;
  sound.rates.length = 0;
  await run(20_000);
  assert.ok(sound.rates.filter((rate) => rate !== 1).length <= 1, `${sound.rates.length} changes of rate`);
  assert.ok(Math.abs(errorMs()) < 2, `${errorMs()} ms`);
});

for (const dropOutMs of [8, 15, 30]) {
  test(`a drop-out of ${dropOutMs} ms is made up for within a second and a half`, async (t) => {
    const { run, sound, errorMs } = setUp(t);
    await run(6000);
    sound.position -= dropOutMs / 1000;
    await run(1500);
    assert.ok(Math.abs(errorMs()) < 4, `${errorMs()} ms`);
    assert.equal(sound.seeks, 1, 'it was sought');
  });
}

test('a moment of confusion does not move it', async (t) => {
  const { run, sound, errorMs } = setUp(t);
  await run(6000);
  const before = errorMs();
  // A busy moment: the position jumps about for a fifth of a second, the sound does not.
  const { position } = sound;
  sound.position += 0.02;
  await run(150);
  sound.position = position + 0.15;
  await run(2000);
  assert.ok(Math.abs(errorMs() - before) < 2, `${before} and then ${errorMs()} ms`);
});

test('one that is better left alone is put right after its start, and later only where it is far off', async (t) => {
  const habits = { seekAbove: 0.5, alignAbove: 0.1, cooldownMs: 5000, settleMs: 1500, bends: false, seekLag: 0 };
  const { run, sound, errorMs } = setUp(t, { jitterMs: 15, startsLate: 0.32, habits });
  const began = await run(5000, () => !sound.paused);
  assert.ok(began < 5000);
  assert.ok(errorMs() < -200, `${errorMs()} ms`);
  await run(6000);
  assert.ok(Math.abs(errorMs()) < 100, `${errorMs()} ms`);
  const seeks = sound.seeks;
  sound.position -= 0.2;
  await run(30_000);
  assert.equal(sound.seeks, seeks, 'it was sought for a fifth of a second');
  sound.position -= 0.6;
  await run(10_000);
  assert.ok(Math.abs(errorMs()) < 500 && sound.seeks === seeks + 1, `${errorMs()} ms after ${sound.seeks - seeks}`);
});
