import { ApiError, isTransient } from './errors.js';

/** One name for all tabs of an origin. */
const LOCK = 'tutti-session';
/** A tab that holds the lock longer than this is not refreshing any more. */
const LOCK_WAIT_MS = 15_000;
/** Renewed this long before its end, or a fifth of its life before where that is less. */
const RENEW_BEFORE_MS = 60_000;
const RETRY_RENEWAL_MS = 5_000;

/** @typedef {import('./types.js').Session} Session */

/**
 * Keeps the tokens: knows when the access token runs out, and renews it.
 *
 * A refresh token works once, and spending a dead one logs the user out everywhere. So within a tab
 * there is one refresh at a time, between tabs a lock, and inside the lock the stored session is read
 * again: another tab may have spent our token while we waited.
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
   * @param {(session: Session | null) => unknown} parts.onSession Stores or forgets; awaited inside the lock.
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
    if (!this.#session?.refresh_token || this.#parts.time.now() < this.#runsOutMs - this.#renewBeforeMs) return token;
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
    if (await this.#adoptStored()) {
      const adopted = /** @type {Session} */ (this.#session);
      if (!this.#seemsOver(adopted.access_token)) return this.#renewed(adopted.access_token);
    }
    const before = this.#session;
    if (!before?.refresh_token) {
      await this.forget();
      throw noSession();
    }
    let answer;
    this.#spent.add(before.refresh_token);
    try {
      answer = await this.#parts.spend(before.refresh_token);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) await this.forget();
      throw error;
    }
    // Logged out meanwhile: the answer must not bring the session back.
    if (!this.#session) throw noSession();
    this.#session = { ...this.#session, ...answer };
    this.setRemaining((answer.expires_in ?? NaN) * 1000);
    await this.#parts.onSession(this.#session);
    return this.#renewed(answer.access_token);
  }

  /** @returns {Promise<boolean>} Whether another tab had a newer session of the same user. */
  async #adoptStored() {
    const stored = await this.#parts.loadSession?.();
    const ours = this.#session;
    if (!ours || !stored?.refresh_token || !stored.access_token) return false;
    if (stored.refresh_token === ours.refresh_token || this.#spent.has(stored.refresh_token)) return false;
    if (stored.user && ours.user && stored.user.user_id !== ours.user.user_id) return false;
    this.#session = stored;
    // How old it is nobody says; a socket that authenticates with it will be told.
    this.#runsOutMs = Infinity;
    return true;
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
    if (!this.#renewing || this.#runsOutMs === Infinity || !this.#session?.refresh_token) return;
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

function noSession() {
  return new ApiError({ status: 401, code: 'AUTH_REQUIRED', detail: 'not logged in' });
}
