// How a file of stories is laid out: its servers, its stories, and the two transports.

import { after, describe, test } from 'node:test';
import { startCluster } from '../cluster/cluster.mjs';
import { closeConnections } from './api.mjs';
import { startParts } from './parts.mjs';
import { startTutti } from './server.mjs';

/** Generous: a story that hangs has to end, a slow machine has not to fail. */
const STORY_MS = 60_000;

/**
 * @param {string} name a sentence
 * @param {(t: import('node:test').TestContext) => Promise<void>} body
 * @param {number} [timeout]
 */
export function story(name, body, timeout = STORY_MS) {
  // The runner reports a failed test by itself; its promise is of no use here.
  void test(name, { timeout }, body);
}

/**
 * Stories that share nothing but the server run side by side: most of them spend their time waiting.
 * @param {string} subject
 * @param {() => void} stories
 */
export function stories(subject, stories) {
  void describe(subject, { concurrency: 6 }, stories);
}

/** @typedef {'websocket' | 'polling'} Transport */

/**
 * The same stories over WebSocket and over long-polling; TUTTI_STORIES_TRANSPORT names one of them, for that one alone.
 * @param {string} subject
 * @param {(transport: Transport) => void} define
 */
export function overBothTransports(subject, define) {
  const only = process.env.TUTTI_STORIES_TRANSPORT;
  void describe(subject, { concurrency: 2 }, () => {
    for (const transport of /** @type {const} */ (['websocket', 'polling'])) {
      if (only && only !== transport) continue;
      stories(`${subject}, over ${transport}`, () => define(transport));
    }
  });
}

/**
 * Seven processes behind a balancer, which is one more proxy than the stories know of.
 * @param {{env?: Record<string, string | undefined>, files?: number}} options
 */
function startStoryCluster({ env = {}, files }) {
  const { TUTTI_CLUSTER_PROXY: proxy = 'haproxy', TUTTI_CLUSTER_REDIS: redis = 'single' } = process.env;
  return startCluster({
    proxy: /** @type {'haproxy' | 'nginx'} */ (proxy),
    redis: /** @type {'single' | 'sentinel' | 'cluster'} */ (redis),
    postgres: process.env.TEST_POSTGRES_URL,
    // Whoever fills gateways has to fill only one.
    ...(files === undefined ? {} : { files, gateways: 1 }),
    env: { DRAIN_TIME: '0s', ...env, TRUSTED_PROXIES: String(1 + Number(env.TRUSTED_PROXIES ?? 0)) },
  });
}

/**
 * A server for this file; it is stopped, and its exit status looked at, after the last story. With
 * TUTTI_STORIES_ON=parts it is three processes, with TUTTI_STORIES_ON=cluster seven behind a balancer
 * (TUTTI_CLUSTER_PROXY, TUTTI_CLUSTER_REDIS), and the stories are the same.
 * @param {{env?: Record<string, string | undefined>, files?: number}} options `files` is how many a gateway may open
 */
export async function serve(options) {
  const on = process.env.TUTTI_STORIES_ON;
  const start = on === 'cluster' ? startStoryCluster : on === 'parts' ? startParts : startTutti;
  const tutti = await start(options);
  after(async () => {
    // First: what is still connected would keep this process alive.
    closeConnections();
    await tutti.stop();
  });
  return tutti;
}
