import { ApiError, isTransient } from './errors.js';

/** One name for all tabs of an origin. */
const LOCK = 'tutti-session';
/** A tab that holds the lock longer than this is not refreshing any more. */
const LOCK_WAIT_MS = 15_000;
/** Renewed this long before its end, or a fifth of its life before where that is less. */
const RENEW_BEFORE_MS = 60_000;
const RETRY_RENEWAL_MS = 5_000;
/** What another process of the browser has stored is seen here after a moment: so long is looked again before a session is given up. */
const STORED_LATE_MS = 1_000;
/** How often a refused token gives way to a newer one that another tab has stored, before the session is given up. */
const TRIES = 5;

/** @typedef {import('./types.js').Session} Session */

/**
 * Keeps the tokens: knows when the access token runs out, and renews it.
 *
 * A refresh token works once, and spending a dead one logs the user out everywhere. So within a tab
 * there is one refresh at a time, between tabs a lock, and inside the lock the stored session is read
 * again: another tab may have spent our token while we waited.
 *
 * That is not enough: a lock may be handed over before the other process sees what was stored, pages over plain http have no
 * locks, and an answer may be lost on its way. So the server lets a token be traded again for 30 s while nobody has used its
 * successor, and then only the last successor is good. Here that means: a token whose answer did not come is spent again, also
 * by the page after a reload; of two sessions the one with the higher `generation` counts; and whoever is refused looks
 * for what others have stored before giving up.
 */
export class SessionKeeper {
  /** @type {Session | null} */
  #session;
  /** Local milliseconds; Infinity while unknown, for the server tells soon enough with a 401. */
  #runsOutMs = Infinity;
  #renewBeforeMs = RENEW_BEFORE_MS;
  /** @type {Promise<string> | null} */
  #refreshing = null;
  /** @type {(() => void) | null} */
  #cancelRenewal = null;
  #renewing = false;
  /** Refresh tokens this tab has spent: where storing fails, the stored one is older than ours. @type {Set<string>} */
  #spent = new Set();
  #parts;

  /**
   * @param {Session | null} session
   * @param {object} parts
   * @param {import('./types.js').Time} parts.time
   * @param {(refreshToken: string) => Promise<Session>} parts.spend Calls the server's refresh.
   * @param {(session: Session | null) => unknown} parts.onSession Stores or forgets; awaited inside the lock. Where there is a
   *   `loadSession`, it is also called before a refresh token is spent, with `renewing: true`.
   * @param {(() => Session | null | undefined | Promise<Session | null | undefined>) | null} [parts.loadSession] Reads what a tab stored last.
   * @param {import('./types.js').LocksLike | null} [parts.locks] Where absent, this is the only tab.
   * @param {(token: string) => void} [parts.onRenewed] A new access token is in place.
   * @param {() => number} [parts.wallNow] Best guess at the server's time, Unix milliseconds.
   */
  constructor(session, parts) {
    this.#session = session;
    this.#parts = parts;
  }

  /** The session as it is now, null once it is gone. */
  get session() {
    return this.#session;
  }

  /** Takes the user's new data, without telling anybody. @param {import('./types.js').User} user */
  setUser(user) {
    if (this.#session) this.#session = { ...this.#session, user };
  }

  /**
   * The server has told how long the access token still lives.
   *
   * @param {number} remainingMs
   */
  setRemaining(remainingMs) {
    if (!Number.isFinite(remainingMs)) return;
    this.#runsOutMs = this.#parts.time.now() + remainingMs;
    this.#renewBeforeMs = Math.min(RENEW_BEFORE_MS, remainingMs / 5);
    this.#planRenewal();
  }

  /** From now on the token is renewed without anybody asking for it: a socket is living on it. */
  startRenewing() {
    this.#renewing = true;
    this.#planRenewal();
  }

  stopRenewing() {
    this.#renewing = false;
    this.#cancelRenewal?.();
    this.#cancelRenewal = null;
  }

  /**
   * An access token that is good as far as we know; refreshed first if it is about to run out.
   *
   * @returns {Promise<string>}
   * @throws {ApiError} 401 where there is no session, or it has just died.
   */
  async token() {
    const token = this.#session?.access_token;
    if (!token) throw noSession();
    if (!this.#session?.refresh_token || !this.#isDue()) return token;
    try {
      return await this.refresh(token);
    } catch (error) {
      // It may still be good for a moment; whoever uses it learns better than we know.
      if (isTransient(error)) return token;
      throw error;
    }
  }

  /**
   * Puts another access token in the place of one that is used up.
   *
   * @param {string} usedToken Where this is no longer the current one, nothing is spent.
   * @returns {Promise<string>} The new access token.
   * @throws {ApiError} 401 where the session is dead (`onSession(null)` has been called); otherwise what
   *   kept the server from answering, and the session is as before.
   */
  refresh(usedToken) {
    const current = this.#session?.access_token;
    if (!this.#refreshing && current && current !== usedToken) return Promise.resolve(current);
    this.#refreshing ??= this.#locked(() => this.#replace()).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /**
   * Renews a session that is still good, because its user has changed. Where that fails, it stays as it
   * is until its time is over.
   *
   * @returns {Promise<void>}
   */
  async renewNow() {
    const { access_token: token, refresh_token: spendable } = this.#session ?? {};
    if (token && spendable) await this.refresh(token).catch(() => {});
  }

  /** Whether the access token is to be renewed: it runs out soon, or its refresh token may be spent already. */
  #isDue() {
    return Boolean(this.#session?.renewing) || this.#parts.time.now() >= this.#runsOutMs - this.#renewBeforeMs;
  }

  /**
   * Another tab has stored something. Where that is newer it counts; where two tabs renewed the session at the same time and the
   * older one was stored last, ours is stored again.
   *
   * @returns {Promise<void>}
   */
  async heedStored() {
    if (this.#refreshing || !this.#session) return;
    const stored = await this.#parts.loadSession?.();
    if (this.#refreshing || !this.#session || !stored) return;
    if (await this.#adoptStored()) this.#renewed(/** @type {Session} */ (this.#session).access_token);
    else if (isNewer(this.#session, stored)) await this.#parts.onSession(this.#session);
  }

  /** The session is over. @returns {Promise<void>} */
  async forget() {
    if (!this.#session) return;
    this.#session = null;
    this.stopRenewing();
    await this.#parts.onSession(null);
  }

  /**
   * Ends the session at the server too, with the newest refresh token any tab knows.
   *
   * @param {(refreshToken: string) => Promise<unknown>} tell
   * @returns {Promise<void>}
   */
  async end(tell) {
    // Without a lock nothing else keeps us from ending with a token that is just being spent.
    await this.#refreshing?.catch(() => {});
    try {
      await this.#locked(async () => {
        await this.#adoptStored();
        const token = this.#session?.refresh_token;
        if (token) await tell(token);
      });
    } finally {
      await this.forget();
    }
  }

  /** @returns {Promise<string>} */
  async #replace() {
    let isAdopted = await this.#adoptStored();
    for (let tries = 1; ; tries += 1) {
      const current = this.#session;
      if (isAdopted && current && !this.#seemsOver(current.access_token)) return this.#renewed(current.access_token);
      if (!current?.refresh_token) {
        await this.forget();
        throw noSession();
      }
      try {
        return await this.#spend(current, current.refresh_token);
      } catch (error) {
        // Whatever else goes wrong, the token may or may not be spent, and is spent again.
        if (!(error instanceof ApiError && error.status === 401)) throw error;
        isAdopted = tries < TRIES && (await this.#findNewer());
        if (!isAdopted) {
          await this.forget();
          throw error;
        }
      }
    }
  }

  /** @param {Session} current @param {string} refreshToken @returns {Promise<string>} */
  async #spend(current, refreshToken) {
    this.#spent.add(refreshToken);
    if (this.#parts.loadSession && !current.renewing) {
      // Should the page go before the answer comes, the next one knows that there is no time to lose.
      this.#session = { ...current, renewing: true };
      await this.#parts.onSession(this.#session);
    }
    const answer = await this.#parts.spend(refreshToken);
    // Logged out meanwhile: the answer must not bring the session back.
    if (!this.#session) throw noSession();
    const { renewing, ...before } = this.#session;
    const session = { ...before, ...answer };
    const stored = await this.#parts.loadSession?.();
    if (!this.#session) throw noSession();
    if (stored && isNewer(stored, session)) {
      // Another tab spent the same token after us, and was answered before.
      this.#adopt(stored);
    } else {
      this.#session = session;
      this.setRemaining((answer.expires_in ?? NaN) * 1000);
      await this.#parts.onSession(session);
    }
    return this.#renewed(/** @type {Session} */ (this.#session ?? session).access_token);
  }

  /** Looks for what another tab has stored, at once and once more a little later. @returns {Promise<boolean>} */
  async #findNewer() {
    if (!this.#parts.loadSession) return false;
    if (await this.#adoptStored()) return true;
    await new Promise((resolve) => void this.#parts.time.after(STORED_LATE_MS, () => resolve(undefined)));
    return this.#adoptStored();
  }

  /** @returns {Promise<boolean>} Whether another tab had a newer session of the same user. */
  async #adoptStored() {
    const stored = await this.#parts.loadSession?.();
    const ours = this.#session;
    if (!ours || !stored?.refresh_token || !stored.access_token) return false;
    if (stored.refresh_token === ours.refresh_token) return false;
    if (stored.user && ours.user && stored.user.user_id !== ours.user.user_id) return false;
    if (!(isNewer(stored, ours) ?? !this.#spent.has(stored.refresh_token))) return false;
    this.#adopt(stored);
    return true;
  }

  /** @param {Session} stored */
  #adopt(stored) {
    this.#session = stored;
    // How old it is nobody says; a socket that authenticates with it will be told.
    this.#runsOutMs = Infinity;
  }

  /**
   * Whether a token's own word says that its time is over. Only a hint, to save a refusal: the time it
   * is compared with may be wrong.
   *
   * @param {string} token
   */
  #seemsOver(token) {
    const claims = tokenClaims(token);
    return typeof claims?.exp === 'number' && claims.exp * 1000 <= (this.#parts.wallNow ?? Date.now)();
  }

  /** @param {string} token */
  #renewed(token) {
    this.#parts.onRenewed?.(token);
    return token;
  }

  #planRenewal() {
    this.#cancelRenewal?.();
    this.#cancelRenewal = null;
    if (!this.#renewing || !this.#session?.refresh_token) return;
    if (this.#session.renewing) {
      this.#cancelRenewal = this.#parts.time.after(0, () => this.#renew());
      return;
    }
    if (this.#runsOutMs === Infinity) return;
    const dueMs = this.#runsOutMs - this.#renewBeforeMs - this.#parts.time.now();
    this.#cancelRenewal = this.#parts.time.after(Math.max(0, dueMs), () => this.#renew());
  }

  #renew() {
    const token = this.#session?.access_token;
    if (!token) return;
    this.refresh(token).catch((error) => {
      if (isTransient(error) && this.#renewing) {
        this.#cancelRenewal = this.#parts.time.after(RETRY_RENEWAL_MS, () => this.#renew());
      }
    });
  }

  /**
   * @template T
   * @param {() => Promise<T>} run
   * @returns {Promise<T>}
   */
  async #locked(run) {
    const { locks } = this.#parts;
    if (!locks) return run();
    // The signal ends the waiting only; once granted, the lock is ours.
    const signal = AbortSignal.timeout(LOCK_WAIT_MS);
    let granted = false;
    try {
      return await locks.request(LOCK, { signal }, () => {
        granted = true;
        return run();
      });
    } catch (error) {
      if (granted) throw error;
      throw new ApiError({ status: 0, code: 'UNAVAILABLE', detail: 'another tab holds the session', cause: error });
    }
  }
}

/**
 * What a JWT says about itself, unchecked.
 *
 * @param {string} token
 * @returns {Record<string, any> | null} Null where it is no JWT.
 */
export function tokenClaims(token) {
  try {
    const [, claims] = token.split('.');
    const bytes = Uint8Array.from(atob(claims.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/**
 * Whether one state of a session is newer than another one of it.
 *
 * @param {Session} one
 * @param {Session} other
 * @returns {boolean | undefined} Undefined where that cannot be told: of two sessions, or by a server that does not count.
 */
function isNewer(one, other) {
  const [sid, otherSid] = [one, other].map(({ access_token: token }) => tokenClaims(token)?.sid);
  if (!sid || sid !== otherSid) return undefined;
  if (typeof one.generation !== 'number' || typeof other.generation !== 'number') return undefined;
  return one.generation > other.generation;
}

function noSession() {
  return new ApiError({ status: 401, code: 'AUTH_REQUIRED', detail: 'not logged in' });
}
