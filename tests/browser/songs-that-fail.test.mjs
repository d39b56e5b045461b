// Songs that cannot be played: the page says why, and the room goes on when they can.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { songServer } from '../audible/song-server.mjs';
import { makeSong } from '../audible/song.mjs';
import { startTutti } from '../support/server.mjs';
import { agreedTo, byId, person, playsPast, register, startBrowser } from './people.mjs';

const STORY_MS = 60_000;

describe('songs that fail', () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {Awaited<ReturnType<typeof songServer>>} */
  let files;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {import('./people.mjs').Person[]} */
  let people;

  before(async () => {
    tutti = await startTutti();
    files = await songServer([makeSong(30, 1)]);
    browser = await startBrowser();
    // Their pages may read what the server of songs says.
    const options = { userAgent: 'Chromium for webaudio', ...agreedTo(tutti.url, files.host) };
    people = await Promise.all(['ann', 'bob'].map((name) => person(browser, tutti.url, name, options)));
    await Promise.all(people.map(register));
    const [ann, bob] = people;
    await ann.page.click('label[for="room-friends-only"]');
    await ann.page.click(byId('create-room'));
    await ann.page.waitForSelector(byId('room-title'));
    await bob.page.goto(ann.page.url());
    await bob.page.waitForSelector(byId('room-title'));
  });

  after(async () => {
    await browser?.close();
    files?.close();
    await tutti?.stop();
  });

  /** @param {string} link */
  async function play(link) {
    const [{ page }] = people;
    await page.fill(byId('song-link'), link);
    await page.click(byId('play-link'));
  }

  /** @param {RegExp} words */
  const allRead = (words) => Promise.all(people.map(({ page }) => page.locator(byId('song-error')).filter({ hasText: words }).waitFor({ state: 'attached' })));

  /** @type {[string, import('../audible/song-server.mjs').Trouble, RegExp][]} */
  const troubles = [
    ['is gone', 404, /nothing at this address \(404\)/],
    ['may not be had', 403, /does not let this song be played \(403\)/],
    ['is a web page', 'page', /no song at this address.*a web page/],
    ['has a server in trouble', 503, /in trouble at present \(503\)/],
    ['has a server that is not there', 'dead', /cannot be reached/],
    ['has a server that says nothing', 'hanging', /does not answer/],
  ];
  for (const [name, trouble, words] of troubles) {
    test(`a song that ${name} is said to be so, and plays for all once it can be had`, { timeout: STORY_MS }, async () => {
      const [{ page }] = people;
      files.suffer(trouble);
      // Another address than before: what was decoded is kept.
      await play(`${files.address(0)}?${trouble}`);
      await allRead(words);
      files.suffer(null);
      await page.click(byId('retry-song'));
      await Promise.all(people.map((who) => playsPast(who, 0.5)));
      await allRead(/^$/);
    });
  }

  test('what this browser has no decoder for is said to be so', { timeout: STORY_MS }, async () => {
    await Promise.all(people.map(({ page }) => page.route('**/song.xyz', (route) => route.fulfill({ contentType: 'audio/x-unheard-of', body: 'sound' }))));
    await play(`${tutti.url}/song.xyz`);
    await allRead(/cannot play songs of this kind \(audio\/x-unheard-of\)/);
    assert.deepEqual(people.flatMap(({ faults }) => faults), []);
  });
});
