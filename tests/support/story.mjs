// How a file of stories is laid out: its servers, its stories, and the two transports.

import { after, describe, test } from 'node:test';
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

/**
 * The same stories over WebSocket and over long-polling.
 * @param {string} subject
 * @param {(transport: 'websocket' | 'polling') => void} define
 */
export function overBothTransports(subject, define) {
  void describe(subject, { concurrency: 2 }, () => {
    for (const transport of /** @type {const} */ (['websocket', 'polling'])) {
      stories(`${subject}, over ${transport}`, () => define(transport));
    }
  });
}

/**
 * A server for this file; it is stopped, and its exit status looked at, after the last story. With
 * TUTTI_STORIES_ON=parts it is three processes, and the stories are the same.
 * @param {{env?: Record<string, string | undefined>}} options
 */
export async function serve(options) {
  const tutti = process.env.TUTTI_STORIES_ON === 'parts' ? await startParts(options) : await startTutti(options);
  after(async () => {
    // First: what is still connected would keep this process alive.
    closeConnections();
    await tutti.stop();
  });
  return tutti;
}
