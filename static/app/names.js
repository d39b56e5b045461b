/**
 * Rooms list their participants as ids; names come by other ways (friends, requests, searches, arrivals).
 * This remembers them all, so that a friend of a friend keeps their name once it was seen.
 */
export class Names {
  /** @type {Map<string, string>} */
  #known = new Map();

  /**
   * @param {Iterable<{user_id?: string, username?: string} | null | undefined>} users
   * @returns {boolean} whether anything was new
   */
  learn(users) {
    let news = false;
    for (const user of users) {
      if (!user?.user_id || !user.username || this.#known.get(user.user_id) === user.username) continue;
      this.#known.set(user.user_id, user.username);
      news = true;
    }
    return news;
  }

  /** @param {string} userId */
  of(userId) {
    // Long enough to tell two strangers in a room apart, short enough to be said aloud.
    return this.#known.get(userId) ?? `Guest ${userId.slice(-4).toUpperCase()}`;
  }
}
