// Two tabs of one browser, which renew one session; and answers that do not arrive.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, logIn, person, register, startBrowser } from './people.mjs';

/** How often each tab renews: without the rules that this is about, two tabs were logged out after 2 to 8. */
const RENEWALS = 10;
/** Renewed 0.4 s before its end. */
const TOKEN_LIVES = '2s';
const PACE = { within: 60_000, every: 50 };

/** @typedef {import('playwright-core').Page} Page */

/** @type {Awaited<ReturnType<typeof startTutti>>} */
let tutti;
/** @type {import('playwright-core').Browser} */
let browser;

/** Counts the answers to refreshes. @param {Page} page */
function refreshes(page) {
  const seen = { renewed: 0, refused: 0 };
  page.on('response', (response) => {
    if (!response.url().endsWith('/auth/refresh')) return;
    if (response.ok()) seen.renewed += 1;
    else seen.refused += 1;
  });
  return seen;
}

/** @param {Page} page */
const isLoggedIn = (page) => page.locator(byId('account-open')).isVisible();

describe('two tabs', { timeout: 180_000 }, () => {
  before(async () => {
    tutti = await startTutti({ env: { ...unlimited, ACCESS_TOKEN_TTL: TOKEN_LIVES } });
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
  });

  test('both stay logged in, with locks and, as over plain http, without', async (t) => {
    const pairs = await Promise.all([true, false].map(async (hasLocks) => {
      const ann = await person(browser, 'about:blank', hasLocks ? 'locked' : 'lockless');
      const context = ann.page.context();
      if (!hasLocks) {
        await context.addInitScript(() => Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }));
      }
      await ann.page.goto(`${tutti.url}/`);
      await register(ann);
      const other = await context.newPage();
      await other.goto(`${tutti.url}/`);
      await other.waitForSelector(byId('account-open'));
      assert.equal(await other.evaluate(() => Boolean(navigator.locks)), hasLocks);
      return { hasLocks, pages: [ann.page, other], seen: [refreshes(ann.page), refreshes(other)] };
    }));
    await Promise.all(pairs.map(async ({ hasLocks, pages, seen }) => {
      // With locks one of them often renews for both.
      const renewals = () => seen.reduce((sum, { renewed }) => sum + renewed, 0);
      await eventually(async () => {
        for (const page of pages) {
          // Once is enough: an assertion here would mean "not yet".
          if (!(await isLoggedIn(page))) throw new Error(`logged out after ${renewals()} renewals`);
        }
        return renewals() >= (hasLocks ? RENEWALS : 2 * RENEWALS);
      }, 'they renew', PACE);
      t.diagnostic(`${hasLocks ? 'with' : 'without'} locks: ${seen.map(({ renewed, refused }) => `${renewed} renewed, ${refused} refused`).join('; ')}`);
    }));
    for (const { pages } of pairs) await pages[0].context().close();
  });

  test('an answer that is lost, and a page that is loaded again while it waits, cost nothing', async () => {
    const ben = await person(browser, `${tutti.url}/`, 'ben');
    await register(ben);
    const { page } = ben;
    for (const loses of ['dropped', 'loaded again', 'dropped', 'loaded again']) {
      /** @type {(value?: unknown) => void} */
      let traded = () => {};
      const isTraded = new Promise((resolve) => void (traded = resolve));
      await page.route('**/auth/refresh', async (route) => {
        // The server has done it, and nobody hears so.
        await route.fetch();
        if (loses === 'dropped') await route.abort();
        traded();
      }, { times: 1 });
      await isTraded;
      if (loses === 'loaded again') await page.reload();
      const seen = refreshes(page);
      await eventually(() => seen.renewed >= 2, `it is renewed, and again, after an answer was ${loses}`, PACE);
      assert.ok(await isLoggedIn(page), loses);
    }
    // What is really over is over.
    const { refresh_token: token } = await page.evaluate(() => JSON.parse(localStorage.getItem('tutti.session') ?? '{}'));
    await fetch(`${tutti.url}/api/v1/auth/logout`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ refresh_token: token }),
    });
    await page.waitForSelector(byId('login-form'));
    await logIn(ben);
  });
});
