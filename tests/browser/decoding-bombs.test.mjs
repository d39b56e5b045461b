// A song that is small on its way and huge in memory costs a listener no more than any other.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { flacOfSilence } from '../client/files.mjs';
import { startTutti } from '../support/server.mjs';
import { byId, person, register, startBrowser } from './people.mjs';

const MOST_MB = 700;

test('35 kB that would be 2.1 GB are played while they load', { timeout: 90_000 }, async (t) => {
  const bomb = flacOfSilence({ channels: 8, frames: 1000, declaredSamples: 48_000 });
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'audio/flac', 'content-length': bomb.length, 'access-control-allow-origin': '*' }).end(bomb);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const tutti = await startTutti();
  t.after(() => tutti.stop());
  const browser = await startBrowser();
  t.after(() => browser.close());
  const ann = await person(browser, tutti.url, 'ann');
  await register(ann);
  const { page } = ann;
  await page.click(byId('create-room'));
  await page.fill(byId('song-link'), `http://127.0.0.1:${port}/bomb.flac`);
  await page.click(byId('play-link'));
  await page.waitForSelector(`${byId('sync-offset')}[data-player="audio"], ${byId('song-error')}:not(:empty)`);
  const devtools = await browser.newBrowserCDPSession();
  const { processInfo } = await devtools.send('SystemInfo.getProcessInfo');
  const mostMb = Math.max(...processInfo.map(({ id }) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) / 1024));
  t.diagnostic(`no process of the browser took more than ${mostMb.toFixed(0)} MB`);
  assert.ok(mostMb > 50 && mostMb < MOST_MB, `${mostMb} MB`);
  assert.deepEqual(ann.faults, []);
});
