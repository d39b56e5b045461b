// The host's hand on the room, with players that only pretend.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Conductor } from '../../static/player/conductor.js';
import { settled } from './support.mjs';

// The deck asks where the page is.
Object.assign(globalThis, { location: new URL('http://tutti.test/') });

/** A player that has all it is asked for; `lasts` is how long it believes the song to be. */
function pretender(kind) {
  const player = {
    kind, lasts: 100, rest: Promise.resolve(), loads: [],
    habits: { seekAbove: 0.01, cooldownMs: 1000, settleMs: 250, samples: 4, bends: true, deadZone: 0.001, startLag: 0, seekLag: 0, cueAhead: 0.1 },
    load: async (song) => { player.loads.push(song); },
    unload() {}, prepare() {}, unlock() {}, deviceChanged() {}, look() {}, setRate() {}, setVolume() {}, startAt() {},
    pause() {}, async play() {}, async wake() {}, async seek() {}, preload() {},
    position: () => 0, placeAt: () => 0, duration: () => player.lasts, paused: () => true, starved: () => false, awake: () => true,
    ready: () => true, covers: () => true, title: () => null,
  };
  return player;
}

/** @param {import('node:test').TestContext} t */
function setUp(t) {
  const players = { webaudio: pretender('webaudio'), audio: pretender('audio'), youtube: pretender('youtube') };
  /** @type {(() => import('../../static/core/types.js').HostSample) | null} */
  let sample = null;
  const said = [];
  const link = {
    serverNow: () => 1_000_000 + performance.now(),
    clock: { ready: true, rttMs: 10, uncertaintyMs: 0.1 },
    startSync: (/** @type {typeof sample} */ each) => { sample = each; },
    stopSync() {},
    syncNow: async () => { said.push(sample?.()); return {}; },
    startReports() {}, stopReports() {},
  };
  const conductor = new Conductor(/** @type {any} */ ({ ...players, onChange() {}, onMeasure() {}, onLearned() {} }));
  t.after(() => conductor.dispose());
  conductor.enter(/** @type {any} */ (link), /** @type {any} */ ({
    is_host: true, participant_count: 2, current_song: null, version: 1, playback_state: { playing: false, position: 0, timestamp_ms: 0 },
  }));
  return { conductor, players, said, tick: () => sample?.() };
}

test('how long a song lasts is told when all of it is there, and not before', async (t) => {
  const { conductor, players: { webaudio }, said, tick } = setUp(t);
  let complete = () => {};
  webaudio.rest = new Promise((resolve) => { complete = () => resolve(undefined); });
  await conductor.choose({ title: 'A song', artists: [], audio_url: '/a.mp3' });
  assert.equal(said.at(-1).playback_state.playing, true);
  assert.equal(tick().current_song.duration, undefined);
  // The estimate was a little short.
  webaudio.lasts = 123.4;
  complete();
  await settled();
  assert.equal(tick().current_song.duration, 123.4);
});

test('what a song says of its own length stands', async (t) => {
  const { conductor, tick } = setUp(t);
  await conductor.choose({ title: 'A song', artists: [], audio_url: '/a.mp3', duration: 77 });
  await settled();
  assert.equal(tick().current_song.duration, 77);
});

test('the length of a song that was left meanwhile is not told of the next one', async (t) => {
  const { conductor, players: { webaudio }, tick } = setUp(t);
  let complete = () => {};
  webaudio.rest = new Promise((resolve) => { complete = () => resolve(undefined); });
  await conductor.choose({ title: 'A song', artists: [], audio_url: '/a.mp3' });
  webaudio.rest = new Promise(() => {});
  await conductor.choose({ title: 'Another', artists: [], audio_url: '/b.mp3' });
  complete();
  await settled();
  assert.equal(tick().current_song.title, 'Another');
  assert.equal(tick().current_song.duration, undefined);
});

test('a start is said ahead by the slowest round trip of the room', async (t) => {
  const { conductor, said } = setUp(t);
  conductor.setTiming(/** @type {any} */ ({ round_trip_ms: 300, error_ms: 2 }));
  await conductor.choose({ title: 'A song', artists: [], audio_url: '/a.mp3', duration: 77 });
  const { playback_state: start } = said.at(-1);
  const ahead = start.timestamp_ms - (1_000_000 + performance.now());
  assert.equal(start.position, 0);
  assert.ok(ahead > 600 && ahead <= 700, `${ahead} ms ahead`);
});
