// Why a song fails, in words, and when it is tried again; with players and servers that only pretend.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deck } from '../../static/player/deck.js';
import { explain } from '../../static/player/diagnosis.js';
import { PlayerError } from '../../static/player/player.js';
import { settled } from './support.mjs';

const SONG = { title: 'A song', audio_url: 'http://songs.test/a.mp3' };

/** @param {import('node:test').TestContext} t @param {string} page @param {() => Promise<any>} answer */
function pageAt(t, page, answer = () => Promise.reject(new TypeError('no'))) {
  const { fetch } = globalThis;
  Object.assign(globalThis, { location: new URL(page), fetch: answer });
  t.after(() => Object.assign(globalThis, { fetch }));
}

test('a song over http on a page over https is said to be refused, for good', async (t) => {
  pageAt(t, 'https://tutti.test/');
  const { words, lasting } = await explain(SONG, new PlayerError('no'));
  assert.match(words, /https.*http.*songs\.test/);
  assert.equal(lasting, true);
  // Browsers take this one.
  assert.equal((await explain({ ...SONG, audio_url: 'http://127.0.0.1/a.mp3' }, new PlayerError('no'))).lasting, false);
});

test('where no page may read it, it is said that somebody answers, and not what', async (t) => {
  let asked = 0;
  pageAt(t, 'http://tutti.test/', () => (asked++ ? Promise.resolve({ type: 'opaque' }) : Promise.reject(new TypeError('CORS'))));
  const { words, lasting } = await explain(SONG, new PlayerError('It failed.'));
  assert.match(words, /^It failed\. songs\.test answers/);
  assert.equal(lasting, false);
});

/** @param {import('node:test').TestContext} t @param {() => PlayerError | null} fault */
function deckWith(t, fault) {
  pageAt(t, 'http://tutti.test/');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let loads = 0;
  const player = /** @type {any} */ ({
    load: async () => { loads += 1; const error = fault(); if (error) throw error; },
    unload() {}, pause() {}, duration: () => 10,
  });
  const deck = new Deck({ webaudio: player, audio: player, youtube: player }, () => undefined);
  t.after(() => deck.dispose());
  return { deck, player, loads: () => loads };
}

test('a song that fails is tried again ever more rarely, until it plays', async (t) => {
  /** @type {PlayerError | null} */
  let error = new PlayerError('no');
  const { deck, loads } = deckWith(t, () => error);
  await deck.put(SONG);
  for (const [waitMs, so] of [[1000, 2], [2000, 3], [4000, 4], [8000, 5], [16_000, 6], [30_000, 7], [30_000, 8]]) {
    assert.equal(deck.phase, 'failed');
    assert.equal(deck.retrying, true);
    t.mock.timers.tick(waitMs - 1);
    await settled();
    assert.equal(loads(), so - 1);
    t.mock.timers.tick(1);
    await settled();
    assert.equal(loads(), so);
  }
  error = null;
  t.mock.timers.tick(30_000);
  await settled();
  assert.equal(deck.phase, 'ready');
  assert.equal(deck.problem, '');
});

test('what will always fail is not tried again', async (t) => {
  const { deck, loads } = deckWith(t, () => new PlayerError('never', { lasting: true }));
  await deck.put(SONG);
  t.mock.timers.tick(100_000);
  await settled();
  assert.deepEqual([deck.phase, deck.problem, deck.retrying, loads()], ['failed', 'never', false, 1]);
});

test('a song that breaks off is taken up again where the room is', async (t) => {
  const { deck, player, loads } = deckWith(t, () => null);
  /** @type {number[]} */
  const begun = [];
  const { load } = player;
  player.load = (/** @type {unknown} */ song, /** @type {number} */ from) => { begun.push(from); return load(song); };
  deck.whereFrom = () => 42;
  await deck.put(SONG);
  player.onBreak(new PlayerError('It broke off.'));
  await settled();
  assert.deepEqual([deck.phase, deck.broken], ['failed', true]);
  t.mock.timers.tick(1000);
  await settled();
  assert.deepEqual([deck.phase, deck.broken, loads(), begun], ['ready', false, 2, [0, 42]]);
});

test('what another song has to say comes too late for the next one', async (t) => {
  const { deck, player } = deckWith(t, () => null);
  await deck.put(SONG);
  await deck.put(null);
  player.onBreak(new PlayerError('It broke off.'));
  await settled();
  assert.equal(deck.phase, 'empty');
});
