// How much sound there is in a file, counted.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodedBytes, measure } from '../../static/player/anatomy/measure.js';
import { tagsOf } from '../../static/player/anatomy/tags.js';
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

/** @param {string} name @param {number[] | Buffer} body */
const id3Frame = (name, body) => Buffer.from([...Buffer.from(name), 0, 0, 0, body.length, 0, 0, ...body]);
/** @param {number} version @param {number} flags @param {Buffer} frames */
const id3 = (version, flags, frames) => Buffer.concat([Buffer.from([0x49, 0x44, 0x33, version, 0, flags, 0, 0, frames.length >> 7, frames.length & 127]), frames]);
/** @param {string} text */
const utf8 = (text) => Buffer.from(`\x03${text}`);

test('a song is called what its tags call it', () => {
  const names = { title: 'Grüße — 夜', artists: ['Ann Lee'] };
  const frames = Buffer.concat([id3Frame('TPE1', utf8('Ann Lee\0')), id3Frame('TIT2', utf8('Grüße — 夜'))]);
  assert.deepEqual(tagsOf(id3(4, 0, frames)), names);
  assert.deepEqual(tagsOf(id3(3, 0, Buffer.concat([id3Frame('TIT2', Buffer.concat([Buffer.from([1, 0xff, 0xfe]), Buffer.from('Nacht 夜', 'utf16le')]))]))), { title: 'Nacht 夜' });
  assert.deepEqual(tagsOf(id3(3, 0, id3Frame('TIT2', Buffer.from('\0Grüße', 'latin1')))), { title: 'Grüße' });
  // Of 2.2, names have three letters and sizes three bytes.
  assert.deepEqual(tagsOf(id3(2, 0, Buffer.from([...Buffer.from('TT2'), 0, 0, 4, 0, ...Buffer.from('Old')]))), { title: 'Old' });
  const comments = (/** @type {string[]} */ ...texts) => Buffer.concat([Buffer.from([0, 0, 0, 0, texts.length, 0, 0, 0]), ...texts.map((text) => Buffer.from([Buffer.byteLength(text), 0, 0, 0, ...Buffer.from(text)]))]);
  const block = comments('title=Grüße — 夜', 'ARTIST=Ann Lee', 'ARTIST=Ann Lee');
  assert.deepEqual(tagsOf(Buffer.concat([Buffer.from('fLaC\x84\0\0', 'latin1'), Buffer.from([block.length]), block])), names);
  const packet = Buffer.concat([Buffer.from('OpusTags'), block]);
  const page = (/** @type {Buffer} */ body) => Buffer.concat([Buffer.from('OggS'), Buffer.alloc(22), Buffer.from([1, body.length]), body]);
  assert.deepEqual(tagsOf(Buffer.concat([page(Buffer.from('OpusHead')), page(packet), Buffer.alloc(1)])), names);
  const chunk = (/** @type {string} */ name, /** @type {Buffer} */ body) => Buffer.concat([Buffer.from(name), Buffer.from([body.length, 0, 0, 0]), body]);
  assert.deepEqual(tagsOf(Buffer.concat([Buffer.from('RIFFxxxxWAVE'), chunk('LIST', Buffer.concat([Buffer.from('INFO'), chunk('INAM', Buffer.from('Song\0\0'))])), Buffer.alloc(1)])), { title: 'Song' });
  const box = (/** @type {string} */ name, /** @type {Buffer} */ body) => Buffer.concat([Buffer.from([0, 0, 0, body.length + 8]), Buffer.from(name, 'latin1'), body]);
  const data = box('data', Buffer.concat([Buffer.alloc(8), Buffer.from('Song')]));
  assert.deepEqual(tagsOf(Buffer.concat([box('ftyp', Buffer.from('M4A ')), box('moov', box('udta', box('meta', Buffer.concat([Buffer.alloc(4), box('ilst', box('\xa9nam', data))]))))])), { title: 'Song' });
});

test('tags that are none, endless or cut off say nothing, and nothing that is not seen', () => {
  for (const [, bytes] of FILES) assert.doesNotThrow(() => tagsOf(bytes));
  const hidden = id3(4, 0, id3Frame('TIT2', utf8('\u202e\u0007 \u0000')));
  assert.equal(tagsOf(hidden), null);
  for (let cut = 0; cut < 40; cut += 1) assert.doesNotThrow(() => tagsOf(id3(3, 0, id3Frame('TIT2', utf8('cut off'))).subarray(0, cut)));
  assert.equal(tagsOf(id3(4, 0, id3Frame('TIT2', utf8('x'.repeat(100)))))?.title?.length, 100);
});
