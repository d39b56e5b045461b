import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stampSample } from '../../static/core/playback.js';
import { syncPlayback } from '../../static/friend-room-client.js';

const AT = Date.parse('2024-01-01T12:00:00.000Z');

test('a playing song moves on with server time, once and not twice', () => {
  const state = { playing: true, position: 45.5, timestamp: '2024-01-01T12:00:00.000Z' };
  assert.equal(syncPlayback(state, AT), 45.5);
  assert.equal(syncPlayback(state, AT + 2500), 48);
});

test('a paused song stays where it is', () => {
  assert.equal(syncPlayback({ playing: false, position: 45.5, timestamp_ms: AT }, AT + 60_000), 45.5);
});

test('the rate counts, and timestamp_ms wins over timestamp', () => {
  const state = { playing: true, position: 10, rate: 1.5, timestamp: '1999-01-01T00:00:00.000Z', timestamp_ms: AT + 0.5 };
  assert.equal(syncPlayback(state, AT + 1000.5), 11.5);
});

test('a start that lies ahead is a position before it, not clamped', () => {
  assert.equal(syncPlayback({ playing: true, position: 0, timestamp_ms: AT + 500 }, AT), -0.5);
});

test('the device\'s own clock has no say', (t) => {
  const state = { playing: true, position: 1, timestamp_ms: AT };
  t.mock.method(Date, 'now', () => AT + 37_000);
  assert.equal(syncPlayback(state, AT + 1000), 2);
});

test('a state without a time stays at its position', () => {
  assert.equal(syncPlayback({ playing: true, position: 3 }, AT), 3);
});

test('a sample is stamped unless it says itself when it was true, or the time is not known', () => {
  const sample = { playback_state: { playing: true, position: 1 } };
  assert.equal(stampSample(sample, AT).playback_state.timestamp_ms, AT);
  assert.equal(sample.playback_state.timestamp_ms, undefined);
  assert.equal(stampSample(sample, null).playback_state.timestamp_ms, undefined);
  const stamped = { playback_state: { playing: true, position: 1, timestamp_ms: 7 } };
  assert.equal(stampSample(stamped, AT).playback_state.timestamp_ms, 7);
});
