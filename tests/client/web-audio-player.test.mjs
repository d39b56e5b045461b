// Sounds that are put at a moment, on a context that mixes whole buffers at a time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebAudioPlayer } from '../../static/player/web-audio-player.js';

const BUFFER_S = 0.1;

/** A context that mixes a buffer now and then while it is asked for something. @param {number[]} mixesIn how many in the first asking, the second… */
function pretend(mixesIn) {
  /** @type {{ when: number, from: number, late: boolean, stopsAt: number }[]} */
  const sounds = [];
  const gain = () => ({
    gain: { value: 1, setValueAtTime() {}, linearRampToValueAtTime() {}, cancelScheduledValues() {} },
    connect: (/** @type {unknown} */ next) => next, disconnect() {},
  });
  const context = {
    currentTime: 5, baseLatency: BUFFER_S, state: 'running', destination: {},
    createGain: gain,
    createBufferSource() {
      const sound = { when: 0, from: 0, late: false, stopsAt: Infinity };
      return {
        playbackRate: { value: 1 }, connect: (/** @type {unknown} */ next) => next,
        start(/** @type {number} */ when, /** @type {number} */ from) {
          context.currentTime += (mixesIn[sounds.length] ?? 0) * BUFFER_S;
          sounds.push(Object.assign(sound, { when, from, late: when < context.currentTime }));
        },
        stop(/** @type {number} */ when) { sound.stopsAt = when; },
      };
    },
  };
  const player = new WebAudioPlayer();
  Object.assign(player, {
    context, volume: gain(), buffer: { duration: 100 }, clock: { ready: true, toContext: (/** @type {number} */ pageMs) => pageMs / 1000, reset() {} },
  });
  return { player, sounds };
}

test('a sound begins where it belongs at that moment', () => {
  const { player, sounds } = pretend([]);
  player.startAt(30, 5200);
  assert.deepEqual(sounds, [{ when: 5.2, from: 30, late: false, stopsAt: Infinity }]);
});

test('one that is too near begins a little later, and further on', () => {
  const { player, sounds } = pretend([]);
  player.startAt(30, 4900, 2);
  assert.equal(sounds.length, 1);
  const [{ when, from, late }] = sounds;
  assert.ok(!late && Math.abs(when - 5.12) < 1e-9 && Math.abs(from - 30.44) < 1e-9, JSON.stringify(sounds));
});

test('a buffer that is mixed while it is asked for does not make it late', () => {
  const { player, sounds } = pretend([1]);
  player.startAt(30, 5020);
  assert.equal(sounds.length, 1);
  assert.equal(sounds[0].late, false);
});

for (const mixesIn of [[2], [2, 3]]) {
  test(`one that was mixed past ${mixesIn.length} times meanwhile is put again`, () => {
    const { player, sounds } = pretend(mixesIn);
    player.startAt(30, 5020);
    assert.equal(sounds.length, mixesIn.length + 1);
    const last = /** @type {typeof sounds[0]} */ (sounds.at(-1));
    assert.equal(last.late, false);
    assert.ok(Math.abs(last.from - 30 - (last.when - 5.02)) < 1e-9, 'at its place');
    for (const { stopsAt } of sounds.slice(0, -1)) assert.ok(stopsAt <= last.when + 0.01, 'those before go');
    assert.ok(Math.abs(player.placeAt((last.when + 1) * 1000) - last.from - 1) < 1e-9);
  });
}
