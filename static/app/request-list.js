/**
 * @typedef {import('../core/types.js').FriendRequest} FriendRequest
 * @typedef {{ requests: FriendRequest[], next_cursor: string | null }} Page
 */

/**
 * Pending requests of one direction, newest first, as far as somebody wanted to see them. The newest page is asked for again and
 * again; what was shown behind it stays until it is answered.
 */
export class RequestList {
  /** @type {FriendRequest[]} */
  requests = [];
  /** Where the first page ends, if there are more. @type {string | null} */
  #end = null;
  /** Where the last page that was shown behind it ends, if there are more; undefined if none was. @type {string | null | undefined} */
  #olderEnd = undefined;

  /** @param {(cursor: string) => Promise<Page>} load */
  constructor(load) {
    this.load = load;
  }

  /** Whether there are more than are shown. */
  get hasMore() { return this.#end !== null && this.#olderEnd !== null; }

  /** The newest page, to be kept with {@link keep}. @returns {Promise<Page>} */
  look() { return this.load(''); }

  /** @param {Page} page the newest one */
  keep({ requests, next_cursor: end }) {
    const [last, newest] = [requests.at(-1), this.requests[0]];
    // So many have come that some of them are on no page that was seen: those behind are shown again when they are asked for.
    const isGap = !last || !newest || isBehind(newest, last);
    const older = end === null || isGap ? [] : this.requests.filter((request) => isBehind(request, last));
    this.requests = [...requests, ...older];
    this.#end = end;
    if (older.length === 0) this.#olderEnd = undefined;
  }

  /** Shows the page behind the last one that is shown. */
  async more() {
    const cursor = this.#olderEnd ?? this.#end;
    if (!this.hasMore || cursor === null) return;
    const { requests, next_cursor: end } = await this.load(cursor);
    const known = new Set(this.requests.map(({ request_id: id }) => id));
    this.requests = [...this.requests, ...requests.filter(({ request_id: id }) => !known.has(id))];
    this.#olderEnd = end;
  }

  /** One that was answered or taken back. @param {string} requestId */
  forget(requestId) {
    this.requests = this.requests.filter(({ request_id: id }) => id !== requestId);
  }
}

/** @param {FriendRequest} one @param {FriendRequest} other */
function isBehind(one, other) {
  if (one.created_at !== other.created_at) return one.created_at < other.created_at;
  return one.request_id < other.request_id;
}
