import { tagsOf } from './anatomy/tags.js';

/** @typedef {import('./player.js').Song} Song @typedef {import('./anatomy/tags.js').Tags} Tags */

/** Names come before the sound, and mostly before its picture. */
const BYTES = 2 ** 18;
const WAIT_MS = 5_000;

/**
 * What a song calls itself, where a page may read it.
 * @param {Song} song
 * @returns {Promise<Tags | null>} never rejects
 */
export async function readTags({ audio_url: address, live }) {
  if (!address || live) return null;
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), WAIT_MS);
  try {
    const answer = await fetch(address, { signal: giveUp.signal, headers: { range: `bytes=0-${BYTES - 1}` }, referrerPolicy: 'no-referrer' });
    if (!answer.ok || !answer.body) return null;
    const bytes = new Uint8Array(BYTES);
    let size = 0;
    for (const reader = answer.body.getReader(); size < BYTES;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes.set(value.subarray(0, BYTES - size), size);
      size = Math.min(BYTES, size + value.length);
    }
    return tagsOf(bytes.subarray(0, size));
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    // A server without byte ranges would send all of it.
    giveUp.abort();
  }
}
