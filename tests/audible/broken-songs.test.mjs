// Songs that break off, that nobody can jump in, or that have no places at all, in real browsers and from the sound.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { byId } from '../browser/people.mjs';
import { eventually } from '../support/api.mjs';
import { GUEST, HOST, openPlace, WITHIN_MS } from './evening.mjs';

const STORY_MS = 120_000;
/** Without CORS, so both can only have `<audio>`. */
const BY_AUDIO = { host: { player: /** @type {const} */ ('audio') }, guest: { player: /** @type {const} */ ('audio') } };
/** May be read, and not be decoded. */
const UNDECODABLE = () => { AudioContext.prototype.decodeAudioData = () => Promise.reject(new Error('no')); };

describe('songs that break', () => {
  /** @type {Awaited<ReturnType<typeof openPlace>>} */
  let place;

  before(async () => { place = await openPlace(); });
  after(() => place?.close());

  /** @param {import('./listeners.mjs').Listener} who @param {RegExp} words */
  const reads = ({ page }, words) => page.locator(byId('song-error')).filter({ hasText: words }).waitFor({ state: 'attached' });

  /** @param {number} output */
  const heard = (output) => eventually(() => place.isHeard(output), `output ${output} is heard`, { within: WITHIN_MS });

  test('a song whose server is gone in the middle is said to be, and goes on for all when it is back', { timeout: STORY_MS }, async (t) => {
    const { evening, files, guestBrowser, together } = place;
    const { host, guest } = await evening(t, await guestBrowser(t), BY_AUDIO);
    await together();
    files.suffer('dead');
    t.after(() => files.suffer(null));
    await host.page.fill(byId('seek'), '60');
    for (const who of [host, guest]) await reads(who, /cannot be reached/);
    files.suffer(null);
    await together({ beyond: 60 });
    for (const who of [host, guest]) await reads(who, /^$/);
  });

  test('a link that expires in the middle breaks the song off, and goes on where it can be had again', { timeout: STORY_MS }, async (t) => {
    const { evening, files, guestBrowser, together } = place;
    const { host, guest } = await evening(t, await guestBrowser(t), BY_AUDIO);
    await together();
    files.suffer(403);
    t.after(() => files.suffer(null));
    await host.page.fill(byId('seek'), '60');
    for (const who of [host, guest]) await reads(who, /broke off|could not be loaded/);
    files.suffer(null);
    await together({ beyond: 60 });
  });

  test('where nobody can jump to a place, nobody pretends to have, and all hear it from its beginning', { timeout: STORY_MS }, async (t) => {
    const { evening, files, guestBrowser, isHeard, together } = place;
    const { host, guest } = await evening(t, await guestBrowser(t), { ...BY_AUDIO, link: files.address(0, 'whole'), lateByS: 5 });
    await reads(guest, /only be heard from its beginning/);
    assert.equal(await isHeard(GUEST), false);
    assert.equal(await isHeard(HOST), true);
    assert.equal(await host.page.isDisabled(byId('seek')), true);
    assert.match(await host.page.textContent(byId('host-hint')) ?? '', /lets nobody jump/);
    // From its beginning it is heard together, and after a pause.
    await host.page.fill(byId('song-link'), `${files.address(0, 'whole')}?again`);
    await host.page.click(byId('play-link'));
    await together();
    await host.page.click(byId('play-pause'));
    await host.page.waitForSelector(`${byId('transport')}[data-moving="false"]`);
    await host.page.click(byId('play-pause'));
    await together();
  });

  test('a song that comes only as a whole is fetched as a whole where that is allowed', { timeout: STORY_MS }, async (t) => {
    const { evening, files, guestBrowser, together } = place;
    const { host } = await evening(t, await guestBrowser(t), {
      host: { init: UNDECODABLE }, guest: { init: UNDECODABLE }, link: files.address(0, 'whole'), lateByS: 3,
    });
    await together({ beyond: 3 });
    await host.page.fill(byId('seek'), '60');
    await together({ beyond: 60 });
  });

  test('a station is heard by who comes later, too', { timeout: STORY_MS }, async (t) => {
    const { evening, files, guestBrowser, isHeard } = place;
    const { host, guest } = await evening(t, await guestBrowser(t), { ...BY_AUDIO, link: files.address(0, 'radio'), lateByS: 3 });
    await heard(HOST);
    await heard(GUEST);
    for (const { page } of [host, guest]) await page.locator(byId('sync-offset')).filter({ hasText: 'live' }).waitFor();
    await host.page.click(byId('play-pause'));
    await eventually(async () => !(await isHeard(GUEST)), 'a pause is heard', { within: WITHIN_MS });
    await host.page.click(byId('play-pause'));
    await heard(GUEST);
    files.suffer('dead');
    t.after(() => files.suffer(null));
    for (const who of [host, guest]) await reads(who, /cannot be reached/);
    files.suffer(null);
    await heard(GUEST);
    await heard(HOST);
  });
});
