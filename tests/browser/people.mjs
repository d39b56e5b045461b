// People with a browser each, and what they do in the page.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { connect, createRoom, register as newUser } from '../support/api.mjs';
import { eventually } from '../support/eventually.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const PASSWORD = 'a short sentence will do';

/** @typedef {import('playwright-core').Page} Page */

/** @param {string} id */
export const byId = (id) => `[data-testid="${id}"]`;

/** @param {string} id @param {string} username */
export const rowOf = (id, username) => `${byId(id)}[data-username="${username}"]`;

/** A browser that may play sound without a tap; whoever starts it closes it. */
export function startBrowser() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking',
      '--autoplay-policy=no-user-gesture-required',
    ],
  });
}

/**
 * Somebody at a page of their own, which shares nothing but the server with the others.
 * @param {import('playwright-core').Browser} browser
 * @param {string} address
 * @param {string} username
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function person(browser, address, username, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  /** What broke in the page. @type {string[]} */
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await page.addInitScript(rememberNews);
  await page.goto(address);
  return { username, browser, page, faults };
}

/**
 * Options of somebody who has agreed to these hosts of songs earlier.
 * @param {string} address @param {...string} hosts
 */
export const agreedTo = (address, ...hosts) => ({
  storageState: { cookies: [], origins: [{ origin: new URL(address).origin, localStorage: [{ name: 'tutti.hosts', value: JSON.stringify(hosts) }] }] },
});

/** @typedef {Awaited<ReturnType<typeof person>>} Person */

/** Somebody who has opened a room and stays in it. @param {string} address @param {string} username @param {Record<string, unknown>} [settings] */
export async function hostOf(address, username, settings) {
  const host = await newUser(address, username, { username });
  const { room_id: id } = await createRoom(host, settings);
  await (await connect(host)).emit('join_room', { room_id: id });
  return { host, id, path: `/room/${id}` };
}

/** The host gives the lead away. @param {Page} page @param {string} username who gets it */
export async function handOver(page, username) {
  await page.click(`${rowOf('participant', username)} ${byId('make-host')}`);
  await page.click(byId('confirm-yes'));
}

/** Fills in the form, and is logged in where it leads. @param {Person} who */
export async function register({ page, username }) {
  await page.click(byId('tab-register'));
  await page.fill(byId('register-username'), username);
  await page.fill(byId('register-email'), `${username}@example.org`);
  await page.fill(byId('register-password'), PASSWORD);
  await page.click(byId('register-submit'));
  await page.waitForSelector(byId('account-open'));
}

/** @param {Person} who */
export async function logIn({ page, username }) {
  await page.fill(byId('login-login'), username);
  await page.fill(byId('login-password'), PASSWORD);
  await page.click(byId('login-submit'));
  await page.waitForSelector(byId('account-open'));
}

/** @param {Person} one @param {Person} other */
export async function befriend(one, other) {
  await one.page.fill(byId('friend-search'), other.username);
  await one.page.click(`${rowOf('search-result', other.username)} ${byId('send-request')}`);
  await one.page.waitForSelector(rowOf('request-sent', other.username));
  await other.page.click(`${rowOf('request-received', one.username)} ${byId('accept-request')}`);
  await other.page.waitForSelector(rowOf('friend', one.username));
}

/**
 * What a page plays at this moment, as it says itself: `[data-heard]` seconds of the song at `[data-heard-at]`, and whether it moves.
 * @param {Person} who @param {number} seconds
 */
export const playsPast = (who, seconds) => who.page.waitForFunction((least) => {
  const told = /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="transport"]'))?.dataset;
  return told?.moving === 'true' && Number(told.heard) > least;
}, seconds);

/** @param {Person} who @param {number} from seconds @param {number} to */
export const isBetween = (who, from, to) => who.page.waitForFunction(([least, most]) => {
  const told = /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="transport"]'))?.dataset;
  return Number(told?.heard) >= least && Number(told?.heard) <= most;
}, [from, to]);

/** @param {Person} who */
export const silent = ({ page }) => page.waitForFunction(
  () => /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="transport"]'))?.dataset.moving === 'false',
);

/** The page's own measurement says that it has found its place. @param {{page: Page}} who */
export const inSync = ({ page }) => page.waitForSelector(`${byId('sync-offset')}[data-state="good"]`);

/**
 * Somebody whose account was made without a page, at a page of their own.
 * @param {import('playwright-core').Browser} browser
 * @param {import('../support/api.mjs').User} user
 * @param {string} [path]
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function arrive(browser, user, path = '/', options = {}) {
  const who = await person(browser, 'about:blank', user.username, options);
  await who.page.addInitScript(([session, origin]) => {
    if (location.origin !== origin || localStorage.getItem('tutti.session') || sessionStorage.getItem('arrived')) return;
    localStorage.setItem('tutti.session', session);
    // Once: whoever logs out stays logged out.
    sessionStorage.setItem('arrived', 'yes');
  }, [JSON.stringify(user.session), user.url]);
  await who.page.goto(user.url + path);
  await who.page.waitForSelector(byId('account-open'));
  return who;
}

/** Keeps all that the live regions have said, in `window.news`. */
function rememberNews() {
  /** @type {string[]} */
  const news = [];
  Object.assign(window, { news });
  new MutationObserver((changes) => {
    for (const { target, addedNodes } of changes) {
      const region = /** @type {HTMLElement} */ (target);
      if (['announcer', 'alerts'].includes(region.dataset?.testid ?? '')) news.push(...[...addedNodes].map(({ textContent }) => textContent ?? ''));
    }
  }).observe(document, { childList: true, subtree: true });
}

/** @param {Person} who @returns {Promise<string[]>} */
export const newsOf = ({ page }) => page.evaluate(() => /** @type {any} */ (window).news);

/** Waits until a screen reader has been told so. @param {Person} who @param {string} sentence */
export const isTold = ({ page }, sentence) => page.waitForFunction((words) => /** @type {any} */ (window).news.includes(words), sentence);

/** What has the focus: `testid` and, in a list, the row it is in. @param {Page} page */
export const focusOf = (page) => page.evaluate(() => {
  const { activeElement: element } = document;
  if (!element || element === document.body) return 'nothing';
  const row = element.closest('li');
  const { dataset, tagName, textContent } = /** @type {HTMLElement} */ (element);
  const id = dataset.testid ?? `${tagName.toLowerCase()} ${textContent}`;
  if (!row) return id;
  return row === element ? `row of ${row.dataset.username}` : `${id} of ${row.dataset.username}`;
});

/** @param {Page} page @param {string} wanted as `focusOf` says it */
export async function focusIsOn(page, wanted) {
  await eventually(async () => {
    assert.equal(await focusOf(page), wanted);
    return true;
  }, `the focus is on ${wanted}`);
}
