const KEPT = 'tutti.names';

/**
 * Names of users as rooms, friends, requests, searches and arrivals have told them, for places that know
 * an id alone: a host who has left, somebody beyond the part of a crowd that a room names. Kept as long as
 * the tab lives. Public names only.
 */
export class Names {
  /** @type {Map<string, string>} */
  #known = new Map();

  constructor() {
    try {
      this.#known = new Map(JSON.parse(sessionStorage.getItem(KEPT) ?? '[]'));
    } catch { /* Refused or spoilt: they are learned again. */ }
  }

  /** @param {Iterable<{user_id?: string, username?: string} | null | undefined>} users */
  learn(users) {
    let news = false;
    for (const user of users) {
      if (!user?.user_id || !user.username || this.#known.get(user.user_id) === user.username) continue;
      this.#known.set(user.user_id, user.username);
      news = true;
    }
    if (!news) return;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify([...this.#known]));
    } catch { /* Then they last until the next reload. */ }
  }

  /** @param {string} userId */
  of(userId) {
    // Long enough to tell two strangers in a room apart, short enough to be said aloud.
    return this.#known.get(userId) ?? `Guest ${userId.slice(-4).toUpperCase()}`;
  }

  forget() { sessionStorage.removeItem(KEPT); }
}
