import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, systemTime } from '../../static/core/time.js';

test('pauses double up to their limit, spread over half to one and a half', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 99].map((failures) => backoffMs(failures, () => 0.5)), [500, 1000, 2000, 4000, 5000, 5000]);
  assert.equal(backoffMs(1, () => 0), 500);
  assert.equal(backoffMs(1, () => 0.999), 1499);
});

test('a wait longer than timers can take is not taken for none', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let ran = false;
  systemTime(() => 0).after(2 ** 40, () => { ran = true; });
  t.mock.timers.tick(1_000_000);
  assert.equal(ran, false);
});

test('a cancelled wait does not end in a call', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let runs = 0;
  const { after } = systemTime(() => 0);
  after(10, () => { runs += 1; });
  after(10, () => { runs += 1; })();
  t.mock.timers.tick(10);
  assert.equal(runs, 1);
});
