// Behind nginx as README has it; as it had it once, without `Host`: then Tutti takes its own pages for strangers', and
// says so to the person, to whoever reads the log, and to programs; and without `Upgrade`: then there are no WebSockets.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { api, eventually } from '../support/api.mjs';
import { freePort, Program, REPOSITORY, temporaryFolder, whenUp } from '../support/program.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { byId, person, playsPast, register, startBrowser } from './people.mjs';

const STORY_MS = 60_000;
const PASSES_HOST = /^ *proxy_set_header Host .*\n/m;
const PASSES_WEBSOCKETS = /^ *proxy_(?:http_version|set_header (?:Upgrade|Connection)) .*\n/gm;
/** Generous, and less than the page waits for a WebSocket that says nothing. */
const AT_ONCE_MS = 8_000;

/** The configuration in README, word by word. */
function recipe() {
  const [, block] = /```nginx\n([\s\S]*?)```/.exec(readFileSync(join(REPOSITORY, 'README.md'), 'utf8')) ?? [];
  assert.ok(block, 'README has a configuration of nginx');
  return block;
}

/** Starts nginx with it, in front of a Tutti. @param {string} servers @param {number} tutti the port */
async function startNginx(servers, tutti) {
  const folder = temporaryFolder('tutti-nginx');
  const port = await freePort();
  // What belongs to another machine: names, certificates, ports.
  const here = servers
    .replace(/listen 443 ssl;/, `listen 127.0.0.1:${port};`)
    .replace(/^ *ssl_.*\n/gm, '')
    .replace('127.0.0.1:8000', `127.0.0.1:${tutti}`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join('\n');
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, `pid ${folder}/pid;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${here}}\n`);
  mkdirSync(join(folder, 'logs'));
  const program = new Program({ name: 'nginx', command: ['nginx', '-p', folder, '-e', 'stderr', '-g', 'daemon off;', '-c', file], log: join(folder, 'log') });
  program.start();
  const url = `http://127.0.0.1:${port}`;
  await whenUp(program, () => fetch(`${url}/readyz`).then(({ ok }) => ok, () => false));
  return { url, stop: () => program.stop() };
}

describe('behind nginx', { timeout: 2 * STORY_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {Awaited<ReturnType<typeof startNginx>>[]} */
  const proxies = [];

  before(async () => {
    tutti = await startTutti({ env: { ...unlimited, TRUSTED_PROXIES: '1' } });
    browser = await startBrowser();
    const recipes = [recipe(), recipe().replace(PASSES_HOST, ''), recipe().replace(PASSES_WEBSOCKETS, '')];
    for (const each of recipes) proxies.push(await startNginx(each, tutti.port));
  });
  after(async () => {
    await browser?.close();
    for (const proxy of proxies) await proxy.stop();
    await tutti?.stop();
  });

  test('as README has it, one listens together', { timeout: STORY_MS }, async () => {
    const ann = await person(browser, proxies[0].url, 'ann');
    await register(ann);
    await ann.page.fill(byId('room-name'), 'Behind nginx');
    await ann.page.click(byId('create-room'));
    await ann.page.waitForURL('**/room/room_*');
    await ann.page.click(byId('track'));
    await playsPast(ann, 0.5);
    assert.equal(await ann.page.isVisible(byId('connection-refused')), false);
    assert.deepEqual(ann.faults, []);
    assert.doesNotMatch(tutti.stderr(), /may not connect/);
  });

  test('without Host the page, the answer and the log say what is missing', { timeout: STORY_MS }, async () => {
    const [, { url }] = proxies;
    assert.match(recipe(), PASSES_HOST);
    const seen = `pages of ${url} may not connect, since the Host that arrives here is 127.0.0.1:${tutti.port}.`;
    const answer = await api(url)('POST', '/socket.io/?EIO=4&transport=polling', { headers: { origin: url } });
    assert.equal(answer.status, 403);
    assert.equal(answer.body.code, 'FORBIDDEN');
    assert.ok(answer.body.detail.startsWith(seen), answer.body.detail);

    const ben = await person(browser, url, 'ben');
    await register(ben);
    await ben.page.waitForSelector(byId('connection-refused'));
    const words = await ben.page.innerText(byId('connection-refused'));
    assert.ok(words.startsWith(`This server does not accept this page’s address, ${url},`), words);
    assert.ok(words.includes(seen) && words.includes('ALLOWED_ORIGINS') && words.includes("has to pass the browser's Host on"), words);
    assert.equal(await ben.page.innerText(byId('connection-state')), 'Not connected');
    assert.deepEqual(ben.faults, []);

    // Each attempt is refused, of which one a minute is logged, on one line.
    const began = await ben.page.evaluate(() => performance.now());
    await ben.page.waitForFunction(
      (since) => performance.getEntriesByType('resource').filter(({ name, startTime }) => name.includes('/socket.io/') && startTime > since).length >= 2,
      began,
    );
    await eventually(() => tutti.stderr().includes(seen), 'it is logged');
    assert.equal(tutti.stderr().split('may not connect').length - 1, 1, tutti.stderr());
  });

  test('a page elsewhere is told what it has to be named in', { timeout: STORY_MS }, async () => {
    const { page } = await person(browser, proxies[0].url, 'cat');
    const error = await page.evaluate(async (elsewhere) => {
      const { FriendRoomClient } = await import(`${elsewhere}/friend-room-client.js`).catch(() => import('/friend-room-client.js'));
      const client = new FriendRoomClient(elsewhere, 'a token');
      /** @type {unknown[]} */
      const told = [];
      client.onConnectionRefused = (/** @type {unknown} */ refusal) => told.push(refusal);
      const { code, message } = await client.connect().catch((/** @type {unknown} */ refusal) => refusal);
      client.disconnect();
      return { code, message, told };
    }, tutti.url);
    assert.equal(error.code, 'FORBIDDEN');
    assert.ok(error.message.includes(`not to pages of ${proxies[0].url}`) && error.message.includes('ALLOWED_ORIGINS'), error.message);
    assert.deepEqual(error.told, [{ code: error.code, message: error.message }]);
  });

  test('without Upgrade the page uses long-polling at once', { timeout: STORY_MS }, async () => {
    const [, , { url }] = proxies;
    assert.equal(recipe().match(PASSES_WEBSOCKETS)?.length, 3);
    const dan = await person(browser, url, 'dan');
    await register(dan);
    const began = performance.now();
    await dan.page.fill(byId('room-name'), 'Without WebSockets');
    await dan.page.click(byId('create-room'));
    await dan.page.waitForURL('**/room/room_*');
    await dan.page.click(byId('track'));
    await playsPast(dan, 0.5);
    const took = performance.now() - began;
    assert.ok(took < AT_ONCE_MS, `${Math.round(took)} ms`);

    // As the page asks, and as it then arrives here: without what belongs to one hop.
    const answer = await api(url)('GET', '/socket.io/?EIO=4&transport=websocket', { headers: { 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
    assert.equal(answer.status, 400);
    assert.equal(answer.body.code, 3);
    assert.ok(answer.body.detail.includes('proxies have to pass on'), answer.body.detail);
  });
});
