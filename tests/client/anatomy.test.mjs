// How much sound there is in a file, counted.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodedBytes, measure } from '../../static/player/anatomy/measure.js';
import { flacOfSilence, wavHeader } from './files.mjs';

/** @param {string} name */
const file = (name) => new Uint8Array(readFileSync(new URL(name, import.meta.url)));
const RATE = 48_000;
const wav = new Uint8Array(Buffer.concat([wavHeader(RATE, 2, 44 + RATE * 2 * 2), Buffer.alloc(RATE * 2 * 2)]));
const flac = new Uint8Array(flacOfSilence({ channels: 6, frames: 10, declaredSamples: 1 }));

/** Name, bytes, channels, seconds, and by how many seconds it may be counted too high. @type {[string, Uint8Array, number, number, number][]} */
const FILES = [
  ['WAV', wav, 2, 1, 0],
  ['FLAC', flac, 6, (10 * 65_535) / RATE, 0],
  // Encoders put some samples before and behind what they were given.
  ['AAC in MP4', file('sounds/aac.m4a'), 2, 1.5, 0.1],
  ['AAC in fragments of MP4', file('sounds/fragments.mp4'), 2, 1.5, 0.1],
  ['AAC by itself', file('sounds/aac.aac'), 2, 1.5, 0.1],
  ['Opus', file('sounds/opus.ogg'), 2, 1.5, 0.1],
  ['Vorbis, of which only the most is known', file('sounds/vorbis.ogg'), 2, 1.5, 0.5],
  ['a track of ours', file('../../static/tracks/window-seat.opus'), 2, 80, 0.1],
];

for (const [name, bytes, channels, seconds, tooHigh] of FILES) {
  test(`${name} is counted`, () => {
    const sound = measure(bytes);
    assert.ok(sound);
    assert.equal(sound.channels, channels);
    assert.equal(sound.rate, RATE);
    assert.ok(sound.seconds >= seconds - 0.001 && sound.seconds <= seconds + tooHigh, `${sound.seconds} s`);
  });
}

test('behind a tag, the same is counted', () => {
  const tag = Buffer.from([0x49, 0x44, 0x33, 4, 0, 0, 0, 0, 1, 5, ...Buffer.alloc(133)]);
  assert.deepEqual(measure(new Uint8Array(Buffer.concat([tag, flac]))), measure(flac));
});

test('sound takes what it takes at its own rate, or at that of the output', () => {
  assert.equal(decodedBytes({ channels: 2, rate: 8000, seconds: 10 }, RATE), 2 * 4 * RATE * 10);
  assert.equal(decodedBytes({ channels: 8, rate: 192_000, seconds: 10 }, RATE), 8 * 4 * 192_000 * 10);
});

test('what is compressed within WAV, or says that it takes no room, is not counted', () => {
  for (const [at, value] of [[20, 0x55], [34, 4], [34, 0], [22, 0]]) {
    const other = wav.slice();
    other.set([value, 0], at);
    assert.equal(measure(other), null, `${value} at ${at}`);
  }
});

test('whatever the bytes are, there is an answer', () => {
  let seed = 1;
  const random = (/** @type {number} */ most) => { seed = (seed * 48_271) % 2_147_483_647; return seed % most; };
  for (const [name, bytes] of FILES.slice(0, -1)) {
    for (let round = 0; round < 300; round += 1) {
      const other = bytes.slice(0, round % 3 ? bytes.length : random(bytes.length));
      for (let change = 0; change < 1 + round % 20 && other.length; change += 1) other[random(Math.min(other.length, 600))] = random(256);
      const sound = measure(other);
      assert.ok(sound === null || (sound.seconds > 0 && sound.channels > 0 && sound.rate > 0), `${name}, round ${round}`);
    }
  }
  for (const letters of ['', 'RIFF', 'fLaC', 'OggS', 'ID3', 'xxxxftyp']) assert.equal(measure(Buffer.from(letters)), null);
});
