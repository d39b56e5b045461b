import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clickSound, findClick, latenessOfTaps } from '../../static/player/lateness.js';
import { seededRandom } from './support.mjs';

const clicks = Array.from({ length: 14 }, (_, i) => 1000 + i * 750);

test('taps along with a late loudspeaker tell by how much it is late', () => {
  const random = seededRandom(3);
  for (const late of [-40, 0, 120, 280]) {
    const taps = clicks.slice(3).map((click) => click + late + (random() - 0.5) * 50);
    const { lateMs } = latenessOfTaps(clicks, taps);
    assert.ok(lateMs !== null && Math.abs(lateMs - late) < 20, `${lateMs} for ${late}`);
  }
});

test('too few taps, or wild ones, tell nothing', () => {
  assert.equal(latenessOfTaps(clicks, [1100, 1850]).lateMs, null);
  const random = seededRandom(4);
  const wild = Array.from({ length: 12 }, () => 1000 + random() * 9000);
  assert.equal(latenessOfTaps(clicks, wild).lateMs, null);
});

test('one missed beat does no harm', () => {
  const taps = clicks.filter((_, i) => i !== 6).map((click) => click + 90);
  assert.equal(latenessOfTaps(clicks, taps).lateMs, 90);
});

test('a click is found in what a microphone hears of it, also quiet and turned over', () => {
  const rate = 48_000;
  const random = seededRandom(5);
  const click = clickSound(rate);
  for (const loud of [0.5, -0.05]) {
    const heard = Float32Array.from({ length: rate / 2 }, () => (random() - 0.5) * 0.02);
    for (const [i, sample] of click.entries()) heard[9000 + i] += loud * sample;
    const found = findClick(heard, rate);
    assert.ok(found !== null && Math.abs(found - 9000 / rate) < 0.0002, `${found}`);
  }
});

test('where there is no click, none is found', () => {
  const random = seededRandom(6);
  assert.equal(findClick(Float32Array.from({ length: 24_000 }, () => random() - 0.5), 48_000), null);
  assert.equal(findClick(new Float32Array(24_000), 48_000), null);
  assert.equal(findClick(new Float32Array(0), 48_000), null);
});
