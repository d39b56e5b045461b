// A phone whose keyboard covers half of the page.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createRoom, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, startBrowser } from './people.mjs';

const PHONE = { width: 360, height: 640 };
const WITH_KEYBOARD = { width: 360, height: 330 };

/** @param {import('playwright-core').Page} page @param {string} control @param {number} height */
async function inSight(page, control, height) {
  const box = await page.locator(byId(control)).boundingBox();
  assert.ok(box && box.y >= 0 && box.y + box.height <= height, `${control} is out of sight: ${JSON.stringify(box)}`);
  const uncovered = await page.locator(byId(control)).evaluate((element) => {
    const { x, y, width, height: high } = element.getBoundingClientRect();
    // Near its lower edge, where what is fixed to the bottom would lie over it.
    const top = document.elementFromPoint(x + width / 2, y + high - 4);
    return top !== null && element.contains(top);
  });
  assert.ok(uncovered, `${control} is covered`);
}

describe('a phone', { timeout: 60_000 }, () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;

  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  test('the music can be steered at sight, and while a link is typed', async () => {
    const ann = await newUser(tutti.url, 'ann', { username: 'ann' });
    // As the default is, and with the most that there is to say above the music.
    const { room_id: id } = await createRoom(ann, { is_friends_only: true });
    const { page, faults } = await arrive(browser, ann, `/room/${id}`, { viewport: PHONE, isMobile: true, hasTouch: true });
    await page.click(byId('track'));
    await page.waitForSelector(`${byId('play-pause')}:enabled`);
    await page.waitForSelector(byId('toast'), { state: 'detached' });
    // To choose the song, the page was moved.
    await page.evaluate(() => scrollTo(0, 0));
    for (const control of ['play-pause', 'seek', 'volume']) await inSight(page, control, PHONE.height);
    // So that the page gets smaller with the keyboard, and is not covered by it.
    assert.match(await page.getAttribute('meta[name="viewport"]', 'content') ?? '', /interactive-widget=resizes-content/);
    await page.setViewportSize(WITH_KEYBOARD);
    await page.locator(byId('song-link')).focus();
    await page.keyboard.type('https://example.org/a-song.ogg');
    for (const control of ['song-link', 'play-pause', 'seek', 'volume']) await inSight(page, control, WITH_KEYBOARD.height);
    // The other pages are still to be reached.
    await page.click(byId('nav-rooms'));
    await page.waitForSelector(`${byId('rooms-view')}:visible`);
    assert.deepEqual(faults, []);
  });
});
