import { ApiError } from './errors.js';
import { callBlob, callJson } from './http.js';

/** @import * as T from './types.js' */
/** @typedef {import('./http.js').HttpOptions} HttpOptions */

const API = '/api/v1';

/**
 * A password in Unicode's NFC: keyboards and systems differ in how they write the same letter. Nothing else about it is changed.
 *
 * @param {string} password
 */
const normalized = (password) => password.normalize('NFC');

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
    /** @param {{ email: string, username: string, password: string, name?: string }} account @returns {Promise<T.Session>} */
    register: ({ email, username, password, name }) => post('register', { email, username, password: normalized(password), name }),
    /** @param {{ login: string, password: string }} credentials @returns {Promise<T.Session>} */
    // As it was typed: accounts of former versions have passwords in that form, and the server tries NFC first. Two calls, one for each
    // form, would count a wrong password twice.
    login: ({ login, password }) => post('login', { login, password }),
    /** @param {string} refreshToken @returns {Promise<T.Session>} */
    refresh: (refreshToken) => post('refresh', { refresh_token: refreshToken }),
    /** @param {string} refreshToken @returns {Promise<null>} */
    logout: (refreshToken) => post('logout', { refresh_token: refreshToken }),
  };
}

/**
 * The calls of a user, one method each: the part of the client that needs no socket. All reject with {@link ApiError}.
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

  /** @returns {Promise<T.User>} */
  async me() {
    return this.#isUser(await this.#call('GET', '/auth/me'));
  }

  /** @param {string} username @returns {Promise<T.User>} */
  async setUsername(username) {
    return this.#isUser(await this.#call('POST', '/auth/username', { username }));
  }

  /**
   * @param {string} q Beginning or middle of a username, 1 to 64 characters.
   * @param {number} [limit] 1 to 50.
   * @returns {Promise<T.FoundUser[]>}
   */
  async searchUsers(q, limit = 20) {
    return (await this.#call('GET', `/friends/search?${new URLSearchParams({ q, limit: String(limit) })}`)).users;
  }

  /**
   * @param {string | { username: string } | { receiver_id: string }} whom A string is a username.
   * @returns {Promise<T.FriendRequest>} Accepted already, where the other one had asked before.
   */
  sendFriendRequest(whom) {
    return this.#call('POST', '/friends/request', typeof whom === 'string' ? { username: whom } : whom);
  }

  /** @param {string} requestId @returns {Promise<T.FriendRequest>} */
  acceptFriendRequest(requestId) {
    return this.#call('POST', '/friends/accept', { request_id: requestId });
  }

  /** @param {string} requestId @returns {Promise<T.FriendRequest>} */
  rejectFriendRequest(requestId) {
    return this.#call('POST', '/friends/reject', { request_id: requestId });
  }

  /** @param {string} requestId One we sent. @returns {Promise<null>} */
  withdrawFriendRequest(requestId) {
    return this.#call('DELETE', `/friends/requests/${encodeURIComponent(requestId)}`);
  }

  /** @param {'sent' | 'received'} type @returns {Promise<T.FriendRequest[]>} The pending ones, newest first, 1 000 at most. */
  async getFriendRequests(type) {
    return (await this.#call('GET', `/friends/requests?${new URLSearchParams({ type })}`)).requests;
  }

  /**
   * All pending requests, a page at a time.
   *
   * @param {'sent' | 'received'} type
   * @param {{ cursor?: string, limit?: number }} [options] `limit`: 1 to 100.
   * @returns {Promise<{ requests: T.FriendRequest[], next_cursor: string | null }>} Newest first.
   */
  async getFriendRequestPage(type, { cursor = '', limit = 50 } = {}) {
    const { requests, next_cursor = null } = await this.#call('GET', `/friends/requests?${new URLSearchParams({ type, cursor, limit: String(limit) })}`);
    return { requests, next_cursor };
  }

  /** @returns {Promise<T.Friend[]>} */
  async getFriends() {
    return (await this.#call('GET', '/friends')).friends;
  }

  /** @param {string} friendId @returns {Promise<null>} */
  removeFriend(friendId) {
    return this.#call('DELETE', `/friends/${encodeURIComponent(friendId)}`);
  }

  /**
   * Makes a room, whose host and first participant the caller is.
   *
   * @param {string | null} [name]
   * @param {boolean} [isFriendsOnly]
   * @param {{ maxParticipants?: number }} [options]
   * @returns {Promise<T.Room>}
   */
  createRoom(name, isFriendsOnly = false, { maxParticipants } = {}) {
    const room = { name: name || undefined, is_friends_only: isFriendsOnly, max_participants: maxParticipants };
    return this.#call('POST', '/rooms/create', room);
  }

  /** @param {string} roomId @returns {Promise<T.Room>} */
  getRoom(roomId) {
    return this.#call('GET', `/rooms/${encodeURIComponent(roomId)}`);
  }

  /**
   * Everybody in a room this user is in, a page at a time: a room itself names 500.
   *
   * @param {string} roomId
   * @param {{ q?: string, cursor?: string, limit?: number }} [options] `q`: part of a username, in any case. `limit`: 1 to 500.
   * @returns {Promise<{ members: T.Member[], participant_count: number, next_cursor: string | null }>} In order of joining; a page of a
   *   search may be short, or empty, while others follow.
   */
  getMembers(roomId, { q = '', cursor = '', limit = 100 } = {}) {
    return this.#call('GET', `/rooms/${encodeURIComponent(roomId)}/members?${new URLSearchParams({ q, cursor, limit: String(limit) })}`);
  }

  /** @returns {Promise<T.Room[]>} Those this user is in. */
  async getRooms() {
    return (await this.#call('GET', '/rooms')).rooms;
  }

  /** @param {string} roomId One we host. @returns {Promise<null>} */
  closeRoom(roomId) {
    return this.#call('DELETE', `/rooms/${encodeURIComponent(roomId)}`);
  }

  /**
   * A picture of another host, fetched by the server, so that the host does not learn who looks.
   *
   * @param {string} url `https://…` or `http://…`, as in a song's `artwork_url`.
   * @returns {Promise<Blob>} A JPEG, PNG, WebP, GIF or AVIF picture.
   */
  getImage(url) {
    const path = `${API}/images?${new URLSearchParams({ url })}`;
    return this.#withToken((token) => callBlob(this.#base, { method: 'GET', path, token }, this.#options));
  }

  /** @param {T.User} user */
  #isUser(user) {
    this.#keeper.setUser(user);
    return user;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  #call(method, path, body) {
    return this.#withToken((token) => callJson(this.#base, { method, path: API + path, body, token }, this.#options));
  }

  /**
   * @template R
   * @param {(token: string) => Promise<R>} once
   * @returns {Promise<R>}
   */
  async #withToken(once) {
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
