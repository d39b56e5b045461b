// People with a browser each, and what they do in the page.

import { chromium } from 'playwright-core';

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
