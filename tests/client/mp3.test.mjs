// MP3 files made by hand, of frames whose sizes are known.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mp3Index, mp3Frames } from '../../static/player/anatomy/mp3.js';
import { seededRandom } from './support.mjs';

/** Header bytes of MPEG 1 at 44.1 kHz, joint stereo, by kbit/s; and the sizes of such frames by ISO 11172-3. */
const FRAMES = /** @type {const} */ ({ 128: [[0xff, 0xfb, 0x90, 0x64], 417], 320: [[0xff, 0xfb, 0xe0, 0x64], 1044], 32: [[0xff, 0xfb, 0x10, 0x64], 104] });

/** @param {readonly number[]} header @param {number} size @param {(frame: Buffer) => void} [fill] */
function frame(header, size, fill = () => undefined) {
  const bytes = Buffer.alloc(size, 0x55);
  bytes.set(header);
  fill(bytes);
  return bytes;
}

/** @param {keyof typeof FRAMES} kbps */
function stereo(kbps) { return frame(...FRAMES[kbps]); }

/** @param {'Xing' | 'Info'} name @param {{ frames: number, encoder?: string, delay?: number, padding?: number }} note */
function noteFrame(name, { frames, encoder = 'LAME3.100', delay = 576, padding = 1000 }) {
  return frame(...FRAMES[128], (bytes) => {
    bytes.fill(0, 4);
    bytes.write(name, 36);
    bytes.writeUInt32BE(0xf, 40);
    bytes.writeUInt32BE(frames, 44);
    bytes.write(encoder, 156);
    bytes.writeUIntBE(delay * 4096 + padding, 177, 3);
  });
}

/** @param {number} size of what is in it */
function id3(size) {
  const tag = Buffer.alloc(10 + size, 0xff);
  tag.set([0x49, 0x44, 0x33, 4, 0, 0, (size >> 21) & 0x7f, (size >> 14) & 0x7f, (size >> 7) & 0x7f, size & 0x7f]);
  return tag;
}

test('each frame of a file with a changing bit rate is found, with the seconds of all together', () => {
  const kinds = /** @type {const} */ ([128, 320, 32, 128, 320]);
  const index = mp3Frames(Buffer.concat([id3(300), ...kinds.map(stereo), Buffer.from(`TAG${' '.repeat(125)}`)]));
  assert.deepEqual(index.at, [310, 727, 1771, 1875, 2292]);
  assert.deepEqual(index.sizes, kinds.map((kbps) => FRAMES[kbps][1]));
  assert.equal(index.samples, 5 * 1152);
  assert.equal(index.seconds.toFixed(9), ((5 * 1152) / 44_100).toFixed(9));
  assert.deepEqual([index.channels, index.rate, index.samplesPerFrame, index.uniform, index.constant], [2, 44_100, 1152, true, false]);
});

test('frames of one bit rate are known to be that, with and without the byte that fills up', () => {
  const filled = frame([0xff, 0xfb, 0x92, 0x64], 418);
  const index = mp3Frames(Buffer.concat([stereo(128), filled, stereo(128)]));
  assert.deepEqual([index.sizes, index.constant], [[417, 418, 417], true]);
});

test('the frame in which an encoder says how much it has put around the sound is no sound', () => {
  const index = mp3Frames(Buffer.concat([noteFrame('Xing', { frames: 3 }), stereo(32), stereo(128), stereo(32)]));
  assert.deepEqual([index.length, index.at[0]], [3, 417]);
  assert.deepEqual(index.note, { frames: 3, delay: 576, padding: 1000, trimmed: true });
  const other = mp3Frames(Buffer.concat([noteFrame('Info', { frames: 2, encoder: 'Gogo' }), stereo(128), stereo(128)]));
  assert.deepEqual(other.note, { frames: 2, delay: 0, padding: 0, trimmed: false });
  const vbri = frame(...FRAMES[128], (bytes) => { bytes.write('VBRI', 36); bytes.writeUInt32BE(2, 50); });
  const third = mp3Frames(Buffer.concat([vbri, stereo(32), stereo(320)]));
  assert.deepEqual([third.length, third.note], [2, { frames: 2, delay: 0, padding: 0, trimmed: false }]);
});

test('MPEG 2 and 2.5 have frames of 576 samples, and one channel is one', () => {
  // 22.05 kHz, 64 kbit/s, mono: 72 × 64 000 / 22 050. 8 kHz, 8 kbit/s, mono: 72 × 8 000 / 8 000.
  for (const [header, size, rate] of /** @type {const} */ ([[[0xff, 0xf3, 0x80, 0xc4], 208, 22_050], [[0xff, 0xe3, 0x18, 0xc4], 72, 8000]])) {
    const index = mp3Frames(Buffer.concat([1, 2, 3].map(() => frame(header, size))));
    assert.deepEqual([index.length, index.samples, index.rate, index.channels], [3, 3 * 576, rate, 1]);
  }
});

test('a file says the same whether its bytes come at once or one by one', () => {
  const file = Buffer.concat([id3(2000), noteFrame('Info', { frames: 4 }), stereo(128), stereo(320), Buffer.alloc(77, 0xff), stereo(32), stereo(32)]);
  const whole = mp3Frames(file);
  assert.equal(whole.length, 4);
  for (const size of [1, 3, 500]) {
    const index = new Mp3Index();
    for (let at = 0; at < file.length; at += size) {
      index.push(file.subarray(at, at + size));
      assert.equal(index.received, Math.min(file.length, at + size));
    }
    index.end();
    assert.deepEqual([index.at, index.seconds, index.note, index.skipped], [whole.at, whole.seconds, whole.note, whole.skipped]);
  }
});

test('frames are known as soon as they have come', () => {
  const index = new Mp3Index();
  index.push(Buffer.concat([stereo(128), stereo(128), stereo(128).subarray(0, 400)]));
  assert.deepEqual([index.length, index.complete], [2, false]);
  index.push(stereo(128).subarray(400));
  assert.equal(index.length, 3);
});

test('what is between frames is left out, and what looks like a frame there is none', () => {
  const lonely = frame([0xff, 0xfb, 0x90, 0x64], 40);
  const index = mp3Frames(Buffer.concat([stereo(128), stereo(128), Buffer.alloc(500, 1), lonely, Buffer.alloc(500, 1), stereo(128), stereo(320)]));
  assert.deepEqual([index.length, index.skipped], [4, 1040]);
});

test('frames of several kinds are all counted, and are not one stream', () => {
  const mono8 = [0xff, 0xe3, 0x18, 0xc4];
  const index = mp3Frames(Buffer.concat([frame(mono8, 72), frame(mono8, 72), stereo(128), stereo(128)]));
  assert.deepEqual([index.length, index.channels, index.rate, index.uniform], [4, 2, 44_100, false]);
  assert.equal(index.seconds.toFixed(9), ((2 * 576) / 8000 + (2 * 1152) / 44_100).toFixed(9));
  const joined = mp3Frames(Buffer.concat([stereo(128), noteFrame('Xing', { frames: 9 }), stereo(128)]));
  assert.deepEqual([joined.length, joined.uniform, joined.note], [3, false, null]);
});

test('frames whose length is not said are no frames', () => {
  assert.equal(mp3Frames(Buffer.concat([1, 2, 3].map(() => frame([0xff, 0xfb, 0x00, 0x64], 417)))).length, 0);
});

test('no tag hides what follows the first frame', () => {
  const endless = Buffer.from([0x49, 0x44, 0x33, 4, 0, 0, 0x7f, 0x7f, 0x7f, 0x7f]);
  assert.equal(mp3Frames(Buffer.concat([stereo(128), stereo(128), endless, stereo(128), stereo(128)])).length, 4);
  assert.equal(mp3Frames(Buffer.concat([endless, stereo(128)])).length, 0);
});

test('nothing that a file holds breaks it, and every byte of it is looked at', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 200; round += 1) {
    const file = Buffer.concat([noteFrame('Xing', { frames: 2 ** 31 }), stereo(128), stereo(320), stereo(32), stereo(128)]);
    for (let hit = 0; hit < 20; hit += 1) file[Math.floor(random() * file.length)] = random() < 0.3 ? 0xff : Math.floor(random() * 256);
    const index = mp3Frames(file.subarray(0, Math.floor(random() * file.length)));
    assert.ok(index.length <= 20 && Number.isFinite(index.seconds));
    index.at.forEach((at, number) => assert.ok(at + index.sizes[number] <= (index.at[number + 1] ?? file.length)));
  }
  const noise = Buffer.from(Array.from({ length: 200_000 }, () => Math.floor(random() * 256)));
  assert.equal(mp3Frames(noise).length, 0);
  assert.equal(mp3Frames(Buffer.alloc(100_000, 0xff)).length, 0);
  assert.equal(mp3Frames(Buffer.alloc(0)).length, 0);
});
