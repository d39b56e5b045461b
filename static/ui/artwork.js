/**
 * Pictures of songs, at addresses that a page may show without any other host learning who looks. What is on this server is shown
 * as it is. Everything else is fetched through this server, once, and shown as a `blob:`: its access token stays out of the address.
 */

/** How much is kept; what a page shows already stays when its address is given up. */
const KEPT_BYTES = 16 * 1024 * 1024;
/** What an entry costs at least, so that pictures that cannot be had do not pile up. */
const ENTRY_BYTES = 16 * 1024;
/** Statuses of a server that may give the picture the next time: not reached, too often, busy. */
const PASSING = new Set([0, 429, 503]);

/** @typedef {{address: Promise<string>, url: string, bytes: number}} Kept */

/** By the address elsewhere, the one used last at the end. @type {Map<string, Kept>} */
const kept = new Map();
/** @type {((address: string) => Promise<Blob>) | null} */
let fetchPicture = null;

/**
 * Says how pictures of other hosts are fetched, and gives up those of before.
 * @param {((address: string) => Promise<Blob>) | null} fetch
 */
export function fetchPicturesWith(fetch) {
  for (const { url } of kept.values()) URL.revokeObjectURL(url);
  kept.clear();
  fetchPicture = fetch;
}

/**
 * @param {import('../core/types.js').Song | null | undefined} song
 * @returns {Promise<string>} empty where it has no picture that can be shown
 */
export async function artworkAddress(song) {
  const elsewhere = song?.artwork_url;
  if (!elsewhere || !URL.canParse(elsewhere, location.href)) return '';
  const { href, origin, protocol } = new URL(elsewhere, location.href);
  if (origin === location.origin) return href;
  if (!/^https?:$/.test(protocol) || !fetchPicture) return '';
  const known = kept.get(href);
  if (known) {
    kept.delete(href);
    kept.set(href, known);
    return known.address;
  }
  /** @type {Kept} */
  const entry = { address: Promise.resolve(''), url: '', bytes: ENTRY_BYTES };
  entry.address = load(fetchPicture, href, entry);
  kept.set(href, entry);
  return entry.address;
}

/** @param {(address: string) => Promise<Blob>} fetch @param {string} href @param {Kept} entry */
async function load(fetch, href, entry) {
  try {
    const blob = await fetch(href);
    // Given up meanwhile.
    if (kept.get(href) !== entry) return '';
    entry.url = URL.createObjectURL(blob);
    entry.bytes += blob.size;
    makeRoom();
  } catch (error) {
    const { status } = /** @type {{status?: number}} */ (error);
    if (status === undefined || PASSING.has(status)) kept.delete(href);
  }
  return entry.url;
}

function makeRoom() {
  let total = [...kept.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  for (const [href, { url, bytes }] of kept) {
    if (total <= KEPT_BYTES || kept.size === 1) return;
    URL.revokeObjectURL(url);
    kept.delete(href);
    total -= bytes;
  }
}
