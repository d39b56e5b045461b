// Whom a song makes a browser contact, and that nobody is contacted before the listener agrees.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostConsent } from '../../static/app/host-consent.js';
import { contactOf } from '../../static/player/contact.js';
import { Deck } from '../../static/player/deck.js';
import { settled } from './support.mjs';

/** @param {string} [page] */
const pageAt = (page = 'https://tutti.test/') => Object.assign(globalThis, { location: new URL(page) });

/** @param {string} address */
const at = (address) => ({ title: 'A song', artists: [], audio_url: address });

test('a song of the page’s own server makes it contact nobody else, every other one does', () => {
  pageAt('https://tutti.test:8443/');
  for (const address of ['/tracks/a.opus', 'https://tutti.test:8443/a.mp3', 'HTTPS://TUTTI.TEST:8443/a.mp3']) assert.equal(contactOf(at(address)), null, address);
  for (const [address, host] of [
    ['https://tutti.test/a.mp3', 'tutti.test'],
    ['http://tutti.test:8443/a.mp3', 'tutti.test:8443'],
    ['https://Songs.Example:443/a.mp3', 'songs.example'],
    ['//songs.example/a.mp3', 'songs.example'],
    ['/\\songs.example/a.mp3', 'songs.example'],
  ]) assert.equal(contactOf(at(address))?.host, host, address);
  // YouTube plays it, whatever else the song has.
  assert.equal(contactOf({ ...at('/tracks/a.opus'), youtube_video_id: 'aaaaaaaaaaa' })?.host, 'www.youtube.com');
});

test('devices of the listener and of their network are told from the internet', () => {
  pageAt();
  /** @param {string} host */
  const where = (host) => contactOf(at(`http://${host}/a.mp3`))?.where;
  for (const host of ['localhost', 'a.localhost', '127.0.0.1:99', '127.1', '0x7f.1', '0.0.0.0', '[::1]', '[::]', '[::ffff:127.0.0.1]']) assert.equal(where(host), 'device', host);
  for (const host of [
    '192.168.1.20', '10.0.0.1:8080', '172.16.0.1', '172.31.0.1', '169.254.1.1', '100.64.0.1', '3232235777', '[fd00::1]', '[fe80::1]',
    '[::ffff:10.0.0.1]', 'nas', 'nas.local', 'NAS.lan.', 'box.home.arpa',
  ]) assert.equal(where(host), 'network', host);
  for (const host of ['songs.example', '1.1.1.1', '172.15.0.1', '172.32.0.1', '100.128.0.1', '[2606:4700::1]', '10.example', 'fd.example']) assert.equal(where(host), 'internet', host);
});

test('a host is agreed to once, kept on the device, and without storage until the page is closed', () => {
  pageAt();
  /** @type {Map<string, string>} */
  const stored = new Map();
  const localStorage = { getItem: (/** @type {string} */ key) => stored.get(key) ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => stored.set(key, value) };
  Object.assign(globalThis, { localStorage });
  const consent = new HostConsent();
  assert.equal(consent.covers(at('/tracks/a.opus')), true);
  assert.equal(consent.covers(at('https://songs.example/a.mp3')), false);
  consent.give(at('https://songs.example/a.mp3'));
  consent.give(at('/tracks/a.opus'));
  assert.equal(consent.covers(at('https://songs.example/b.mp3')), true);
  assert.equal(consent.covers(at('https://other.example/b.mp3')), false);
  assert.equal(new HostConsent().covers(at('https://songs.example/c.mp3')), true);
  assert.deepEqual(JSON.parse(stored.get('tutti.hosts') ?? ''), ['songs.example']);

  Object.assign(globalThis, { localStorage: { getItem() { throw new Error('refused'); }, setItem() { throw new Error('refused'); } } });
  const page = new HostConsent();
  page.give(at('https://songs.example/a.mp3'));
  assert.equal(page.covers(at('https://songs.example/b.mp3')), true);
  assert.equal(new HostConsent().covers(at('https://songs.example/b.mp3')), false);
});

test('a song that is asked for is loaded by no player until the listener agrees, and then from where the room is', async (t) => {
  pageAt();
  /** @type {[string, number][]} */
  const loads = [];
  const player = /** @type {any} */ ({
    load: async (/** @type {any} */ { audio_url: address }, /** @type {number} */ from) => { loads.push([address, from]); },
    unload() {}, pause() {}, duration: () => null,
  });
  let agreed = false;
  const deck = new Deck({ webaudio: player, audio: player, youtube: player }, () => undefined, () => 42, ({ audio_url: address }) => agreed || address === '/own');
  t.after(() => deck.dispose());
  await deck.put(at('/own'));
  assert.equal(await deck.put({ ...at('https://songs.example/a.mp3'), duration: 90 }), false);
  assert.equal(deck.phase, 'asking');
  assert.equal(deck.player, null);
  assert.equal(deck.duration(), 90, 'as the song says');
  await deck.retry();
  deck.agreed();
  assert.equal(deck.phase, 'asking', 'nobody has agreed');
  agreed = true;
  deck.agreed();
  assert.equal(deck.phase, 'loading');
  await settled();
  assert.equal(deck.phase, 'ready');
  assert.deepEqual(loads, [['/own', 0], ['https://songs.example/a.mp3', 42]]);
});
