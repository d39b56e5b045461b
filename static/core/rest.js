import { ApiError } from './errors.js';
import { callJson } from './http.js';

/** @typedef {import('./types.js').Session} Session */
/** @typedef {{ fetch?: typeof fetch, deadlineMs?: number }} HttpOptions */

const API = '/api/v1';

/**
 * The calls that need no session.
 *
 * @param {string} base
 * @param {HttpOptions} [options]
 */
export function authCalls(base, options) {
  /** @param {string} name @param {unknown} body */
  const post = (name, body) => callJson(base, { method: 'POST', path: `${API}/auth/${name}`, body }, options);
  return {
    /** @param {{ email: string, username: string, password: string, name?: string }} account @returns {Promise<Session>} */
    register: ({ email, username, password, name }) => post('register', { email, username, password, name }),
    /** @param {{ login: string, password: string }} credentials @returns {Promise<Session>} */
    login: ({ login, password }) => post('login', { login, password }),
    /** @param {string} refreshToken @returns {Promise<Session>} */
    refresh: (refreshToken) => post('refresh', { refresh_token: refreshToken }),
    /** @param {string} refreshToken @returns {Promise<null>} */
    logout: (refreshToken) => post('logout', { refresh_token: refreshToken }),
  };
}

/**
 * The calls of a user, one method each. All reject with {@link ApiError}.
 */
export class RestApi {
  #base;
  #keeper;
  #options;

  /**
   * @param {string} base
   * @param {import('./session.js').SessionKeeper} keeper
   * @param {HttpOptions} [options]
   */
  constructor(base, keeper, options) {
    this.#base = base;
    this.#keeper = keeper;
    this.#options = options;
  }

  /** @returns {Promise<import('./types.js').User>} */
  me() {
    return this.#call('GET', '/auth/me');
  }

  /** @param {string} username @returns {Promise<import('./types.js').User>} */
  setUsername(username) {
    return this.#call('POST', '/auth/username', { username });
  }

  /** @param {string} q @param {number} limit @returns {Promise<import('./types.js').FoundUser[]>} */
  async searchUsers(q, limit) {
    return (await this.#call('GET', `/friends/search?${new URLSearchParams({ q, limit: String(limit) })}`)).users;
  }

  /** @param {{ username: string } | { receiver_id: string }} whom @returns {Promise<import('./types.js').FriendRequest>} */
  sendFriendRequest(whom) {
    return this.#call('POST', '/friends/request', whom);
  }

  /** @param {'accept' | 'reject'} answer @param {string} id @returns {Promise<import('./types.js').FriendRequest>} */
  answerFriendRequest(answer, id) {
    return this.#call('POST', `/friends/${answer}`, { request_id: id });
  }

  /** @param {string} id @returns {Promise<null>} */
  withdrawFriendRequest(id) {
    return this.#call('DELETE', `/friends/requests/${encodeURIComponent(id)}`);
  }

  /** @param {'sent' | 'received'} type @returns {Promise<import('./types.js').FriendRequest[]>} */
  async getFriendRequests(type) {
    return (await this.#call('GET', `/friends/requests?${new URLSearchParams({ type })}`)).requests;
  }

  /** @returns {Promise<import('./types.js').Friend[]>} */
  async getFriends() {
    return (await this.#call('GET', '/friends')).friends;
  }

  /** @param {string} id @returns {Promise<null>} */
  removeFriend(id) {
    return this.#call('DELETE', `/friends/${encodeURIComponent(id)}`);
  }

  /** @param {{ name?: string, is_friends_only: boolean, max_participants?: number }} room @returns {Promise<import('./types.js').Room>} */
  createRoom(room) {
    return this.#call('POST', '/rooms/create', room);
  }

  /** @param {string} id @returns {Promise<import('./types.js').Room>} */
  getRoom(id) {
    return this.#call('GET', `/rooms/${encodeURIComponent(id)}`);
  }

  /** @returns {Promise<import('./types.js').Room[]>} */
  async getRooms() {
    return (await this.#call('GET', '/rooms')).rooms;
  }

  /** @param {string} id @returns {Promise<null>} */
  closeRoom(id) {
    return this.#call('DELETE', `/rooms/${encodeURIComponent(id)}`);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  async #call(method, path, body) {
    /** @param {string} token */
    const once = (token) => callJson(this.#base, { method, path: API + path, body, token }, this.#options);
    const token = await this.#keeper.token();
    try {
      return await once(token);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      // The token ran out before we knew: a second try with a new one, and no third.
      return once(await this.#keeper.refresh(token));
    }
  }
}
