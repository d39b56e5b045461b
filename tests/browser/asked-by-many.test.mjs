// Somebody whom more people ask than a page shows, and the one among them who matters.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ask, register as newUser } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { arrive, byId, isTold, rowOf, startBrowser } from './people.mjs';

const STORY_MS = 120_000;
/** More than the 50 that a page shows. */
const STRANGERS = 51;
/** How many of them do something at once. */
const AT_ONCE = 4;

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

describe('somebody who is asked by many', { timeout: STORY_MS }, () => {
  before(async () => {
    tutti = await startTutti({ env: unlimited });
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  test('finds everybody page by page, and by name', { timeout: STORY_MS }, async () => {
    const star = await newUser(tutti.url, 'stella', { username: 'stella' });
    // The friends ask first, so they are behind all strangers.
    for (const username of ['friend-one', 'friend-two']) await ask(await newUser(tutti.url, username, { username }), star);
    const names = Array.from({ length: STRANGERS }, (_, index) => `stranger-${index + 10}`);
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let username = names.shift(); username !== undefined; username = names.shift()) {
        await ask(await newUser(tutti.url, username, { username }), star);
      }
    }));

    const who = await arrive(browser, star);
    const { page } = who;
    await page.click(byId('nav-friends'));
    const rows = page.locator(byId('request-received'));
    await page.waitForSelector(byId('request-received'));
    assert.equal(await rows.count(), 50);
    assert.equal(await page.locator(rowOf('request-received', 'friend-one')).count(), 0);
    assert.equal(await page.textContent(byId('requests-badge')), '50+');

    // By name.
    await page.fill(byId('friend-search'), 'friend-one');
    const found = page.locator(rowOf('search-result', 'friend-one')).locator(byId('send-request'));
    await found.and(page.getByText('Accept')).click();
    await isTold(who, 'You and friend-one are friends now.');

    // And by going on.
    await page.click(byId('requests-received-more'));
    const other = page.locator(rowOf('request-received', 'friend-two'));
    await other.waitFor();
    assert.equal(await rows.count(), STRANGERS + 1);
    assert.equal(await page.isVisible(byId('requests-received-more')), false);
    await other.locator(byId('accept-request')).click();
    await page.waitForSelector(rowOf('friend', 'friend-two'));
    await other.waitFor({ state: 'detached' });
    assert.equal(await rows.count(), STRANGERS, 'the others are still there');
  });
});
