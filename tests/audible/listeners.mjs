// Listeners: real browsers, each with a sound output of its own, and each with a clock and a line of its own.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { chromium } from 'playwright-core';
import { byId } from '../browser/people.mjs';
import { badNetwork } from './bad-network.mjs';
import { wrongClock } from './wrong-clock.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
  '--autoplay-policy=no-user-gesture-required', '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows', '--disable-features=AudioServiceSandbox,AudioServiceOutOfProcess',
];

/**
 * @typedef {object} Fault what is wrong with a listener
 * @property {number} [wrongMs] by how much the wall clock is off
 * @property {number} [ppm] by how many millionths the clock is too fast
 * @property {number} [delayMs] of the line, each way
 * @property {number} [jitterMs]
 *
 * @typedef {'webaudio' | 'audio'} PlayerKind
 */

/** @param {NodeJS.ProcessEnv} env which sound it plays through @param {string[]} [flags] */
export function openBrowser(env, flags = FLAGS) {
  return chromium.launch({ executablePath: CHROMIUM, args: flags, ignoreDefaultArgs: ['--mute-audio'], env: /** @type {any} */ (env) });
}

/** What hands the sound on. Its main threads have a name; the rest asks for its rank by itself. */
const SOUND_THREADS = /^(AudioThread|pulseaudio)/;

/**
 * What makes the sound goes first, and what hands it on before that, as on a desktop, where rtkit sees to it and a machine plays for
 * one listener alone. Where that is not allowed, a busy machine makes holes.
 */
export function hurrySound() {
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${id}/environ`, 'utf8').includes('/tutti-sound-')) continue;
      for (const thread of readdirSync(`/proc/${id}/task`)) hurry(id, thread);
      // Processes of one session share what their session gets; this is how much it gets.
      if (!hurried.has(id)) writeFileSync(`/proc/${id}/autogroup`, '-15');
      hurried.add(id);
    } catch { /* Gone meanwhile, or not ours to change. */ }
  }
}

/** @type {Set<string>} */
const hurried = new Set();

/** @param {string} id of the process @param {string} thread */
function hurry(id, thread) {
  if (hurried.has(thread)) return;
  setPriority(Number(thread), -15);
  if (SOUND_THREADS.test(readFileSync(`/proc/${id}/task/${thread}/comm`, 'utf8'))) spawnSync('chrt', ['--rr', '-p', '5', thread]);
  if (thread !== id) hurried.add(thread);
}

/**
 * Somebody logged in, on the page of their rooms.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {import('../support/api.mjs').User} user
 * @param {object} options
 * @param {PlayerKind} [options.player] what makes the sound
 * @param {Fault} [options.fault]
 * @param {number} [options.seed]
 * @param {() => void} [options.init] run in the page before anything else
 * @param {(context: import('playwright-core').BrowserContext) => Promise<unknown>} [options.prepare] before there is a page
 * @param {string[]} [options.permissions] what the page may do
 * @param {string[]} [options.hosts] those of songs to which this person has agreed earlier
 */
export async function listener(browser, user, { player = 'webaudio', fault = {}, seed = 1, init, prepare, permissions, hosts = [] }) {
  const line = { delayMs: fault.delayMs, jitterMs: fault.jitterMs };
  const port = Number(new URL(user.url).port);
  const network = fault.delayMs !== undefined ? await badNetwork(port, { up: line, down: line, seed }) : null;
  const address = `http://127.0.0.1:${network?.port ?? port}`;
  // Nothing moves on the page: drawing four of them in software would starve the sound.
  const context = await browser.newContext({
    reducedMotion: 'reduce', viewport: { width: 480, height: 800 }, userAgent: `Chromium for ${player}`, permissions,
  });
  if (init) await context.addInitScript(init);
  await prepare?.(context);
  await context.addInitScript({ content: wrongClock(fault) });
  await context.addInitScript(([session, agreed]) => {
    // A page that is left for nothing has no storage.
    if (location.protocol === 'about:') return;
    if (!localStorage.getItem('tutti.session')) localStorage.setItem('tutti.session', session);
    if (!localStorage.getItem('tutti.hosts')) localStorage.setItem('tutti.hosts', agreed);
    if (!localStorage.getItem('tutti.device')) localStorage.setItem('tutti.device', JSON.stringify({ volume: 1, muted: false }));
  }, [JSON.stringify(user.session), JSON.stringify(hosts)]);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => console.error(`${user.username}: ${error.message}`));
  if (process.env.RIG_CONSOLE) page.on('console', (message) => console.error(`${user.username}: ${message.text()}`));
  await page.goto(address);
  await page.waitForSelector(byId('rooms-view'));
  // Who goes into a room before the line is open is sent back.
  await page.waitForSelector(`${byId('connection-state')}[hidden]`, { state: 'attached' });
  return {
    user, page, browser, line: network,
    /** Goes into the room as one does who clicks on it: the page is there already. @param {string} roomId */
    enter: (roomId) => page.evaluate((path) => {
      history.pushState(null, '', path);
      dispatchEvent(new PopStateEvent('popstate'));
    }, `/room/${roomId}`),
    async close() {
      await context.close();
      network?.close();
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof listener>>} Listener */
