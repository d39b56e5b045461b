// The measure itself, against recordings that are known because they were made here.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../client/support.mjs';
import { apartFrom, spreadOf, tearsOf, togetherAfter, windowsOf } from './measure.mjs';
import { Song } from './place.mjs';
import { makeSong, SAMPLE_RATE } from './song.mjs';

const samples = [makeSong(30, 1), makeSong(20, 2)];
const songs = samples.map((each) => new Song(each));

/**
 * What a listener plays: silence until `from`, then the song from `position` on.
 * @param {number} seconds
 * @param {{ from?: number, position: number, rate?: number, song?: number }} line
 */
function listener(seconds, { from = 0, position, rate = 1, song = 0 }) {
  return Int16Array.from({ length: seconds * SAMPLE_RATE }, (_, i) => {
    const at = i / SAMPLE_RATE - from;
    if (at < 0) return 0;
    const place = (position + at * rate) * SAMPLE_RATE;
    const whole = Math.floor(place);
    return Math.round(0.7 * (samples[song][whole] * (1 - place + whole) + samples[song][whole + 1] * (place - whole)));
  });
}

/** @param {Int16Array[]} channels */
const measured = (channels) => windowsOf({ channels, startedAtMs: 0 }, songs);

/** @param {Int16Array[]} channels @param {number} from @param {import('./measure.mjs').Goal} [goal] */
const together = (channels, from, goal) => togetherAfter({ channels, startedAtMs: 0 }, songs, measured(channels), from, goal);

/** @param {number | null} actual @param {number} expected @param {number} within */
function assertNear(actual, expected, within) {
  assert.ok(actual !== null && Math.abs(actual - expected) <= within, `${actual} instead of ${expected}`);
}

test('known distances are found to a hundredth of a millisecond, near and far', () => {
  for (const apart of [0, 0.003, 0.027, 0.25, 4.2]) {
    const windows = measured([listener(5, { position: 3 }), listener(5, { position: 3 + apart })]);
    const { medianMs, worstMs, missing } = spreadOf(windows, [{ from: 0, to: 5 }]);
    assertNear(medianMs, apart * 1000, 0.01);
    assertNear(worstMs, apart * 1000, 0.02);
    assert.equal(missing, 0);
  }
});

test('so are those of a listener whose rate is bent', () => {
  for (const rate of [0.97, 0.995, 1.003, 1.01]) {
    const windows = measured([listener(6, { position: 3 }), listener(6, { position: 3, rate })]);
    assert.ok(windows.every(({ spreadMs }) => spreadMs !== null), `at ${rate}`);
    for (const { at, spreadMs } of windows) assertNear(spreadMs, Math.abs(rate - 1) * at * 1000, 0.7);
  }
});

test('noise of others and another loudness do not matter', () => {
  const random = seededRandom(9);
  const noisy = listener(4, { position: 5.1 }).map((sample) => sample / 4 + (random() - 0.5) * 2000);
  assertNear(spreadOf(measured([listener(4, { position: 5 }), noisy]), [{ from: 0, to: 4 }]).medianMs, 100, 0.05);
});

test('a late joiner is together from when it sounds', () => {
  for (const from of [4.7, 4.78, 4.83]) {
    assertNear(together([listener(12, { position: 2 }), listener(12, { position: 2 + from, from })], 3.5), from - 3.5, 0.03);
  }
  assert.equal(together([listener(8, { position: 2 }), listener(8, { position: 2.02 })], 0), null);
});

test('a song that begins bent is known from its beginning', () => {
  const channels = [0, 0.008].map((behind) => {
    const channel = listener(9, { position: 2 });
    channel.set(listener(5, { position: 0.2 - behind, song: 1, rate: 1 + behind / 0.8 }).subarray(0, 0.8 * SAMPLE_RATE), 4 * SAMPLE_RATE);
    channel.set(listener(5, { position: 0.2 + 0.8, song: 1 }).subarray(0, 4 * SAMPLE_RATE), 4.8 * SAMPLE_RATE);
    return channel;
  });
  assertNear(together(channels, 3.5, { song: 1 }), 0.5, 0.05);
});

test('a pause is one when nobody is heard any more', () => {
  const channels = [listener(8, { position: 2 }), listener(8, { position: 2 })];
  channels[0].fill(0, 4.1 * SAMPLE_RATE);
  channels[1].fill(0, 4.33 * SAMPLE_RATE);
  assertNear(together(channels, 4, { silent: true }), 0.33, 0.03);
});

test('whoever jumps into place is together from then on', () => {
  const late = listener(10, { position: 2.05 });
  late.set(listener(5, { position: 7 }), 5 * SAMPLE_RATE);
  assertNear(together([listener(10, { position: 2 }), late], 4), 1, 0.05);
});

test('together at the wrong place, or in the last song, does not count', () => {
  const channels = [listener(6, { position: 2 }), listener(6, { position: 2 })];
  assert.equal(together(channels, 0, { song: 1 }), null);
  assertNear(together(channels, 0, { beyond: 5 }), 3, 0.03);
  assertNear(together([listener(5, { position: 1, song: 1 }), listener(5, { position: 1, song: 1 })], 0, { song: 1 }), 0, 0.03);
});

test('holes and jumps are seen, and a bent rate is neither', () => {
  const torn = listener(8, { position: 3 });
  torn.fill(0, 3 * SAMPLE_RATE, 3.05 * SAMPLE_RATE);
  torn.set(listener(2, { position: 9.03 }), 6 * SAMPLE_RATE);
  const channels = [listener(8, { position: 3, rate: 1.01 }), torn];
  const { holes, jumps } = tearsOf({ channels, startedAtMs: 0 }, measured(channels), [{ from: 0, to: 8 }]);
  assert.equal(holes, 1);
  assert.ok(jumps >= 1 && jumps <= 3, `${jumps} jumps`);
  const whole = [listener(8, { position: 3, rate: 1.01 }), listener(8, { position: 3 })];
  assert.deepEqual(tearsOf({ channels: whole, startedAtMs: 0 }, measured(whole), [{ from: 0, to: 8 }]), { holes: 0, jumps: 0 });
});

test('what is not the song is not placed', () => {
  const random = seededRandom(10);
  const noise = Int16Array.from({ length: 4 * SAMPLE_RATE }, () => (random() - 0.5) * 20_000);
  const { windows, missing } = spreadOf(measured([listener(4, { position: 3 }), noise]), [{ from: 0, to: 4 }]);
  assert.equal(windows, 0);
  assert.equal(missing, 1);
});

test('what happened around certain moments can be left out', () => {
  const spans = [{ from: 0, to: 10 }, { from: 20, to: 30 }];
  const around = { before: 1, after: 3 };
  assert.deepEqual(apartFrom(spans, [], around), spans);
  assert.deepEqual(apartFrom(spans, [5, 5.5, 9.5, 21], around), [{ from: 0, to: 4 }, { from: 24, to: 30 }]);
  assert.deepEqual(apartFrom(spans, [0, 3, 7, 9, 15, 22, 25, 28], around), [{ from: 20, to: 21 }]);
});
