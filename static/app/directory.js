import { RequestList } from './request-list.js';

/**
 * @typedef {import('../core/types.js').Friend} Friend
 * @typedef {import('../core/types.js').Room} Room
 * @typedef {import('../friend-room-client.js').FriendRoomClient} Client
 */

const POLL_MS = 5000;

/**
 * Friends, requests and rooms as last seen. The server does not push these, so they are asked for again
 * every few seconds while somebody looks.
 */
export class Directory {
  /** @type {Friend[]} */
  friends = [];
  /** Rooms this user is in. @type {Room[]} */
  own = [];
  /** Rooms of friends, open to this user. @type {Room[]} */
  open = [];

  #turn = 0;
  /** @type {number | undefined} */
  #timer = undefined;

  /**
   * @param {Client} client
   * @param {() => void} onChange
   * @param {(error: unknown) => void} onError
   */
  constructor(client, onChange, onError) {
    this.client = client;
    this.received = new RequestList((cursor) => client.getFriendRequestPage('received', { cursor }));
    this.sent = new RequestList((cursor) => client.getFriendRequestPage('sent', { cursor }));
    this.onChange = onChange;
    this.onError = onError;
    this.visible = () => { if (!document.hidden) void this.refresh(); };
    document.addEventListener('visibilitychange', this.visible);
  }

  stop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.visible);
    this.onChange = () => undefined;
  }

  /** Looks again now, and then every few seconds. */
  async refresh() {
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    try {
      const [friends, received, sent, own] = await Promise.all([
        this.client.getFriends(), this.received.look(), this.sent.look(), this.client.getRooms(),
      ]);
      const open = await this.#roomsOf(friends, own);
      // A later look has started, and knows better.
      if (turn !== this.#turn) return;
      this.received.keep(received);
      this.sent.keep(sent);
      Object.assign(this, { friends, own, open });
      this.onChange();
    } catch (error) {
      if (turn === this.#turn) this.onError(error);
    }
    if (turn === this.#turn) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  /** Shows more requests of one direction. @param {'received' | 'sent'} type */
  async moreRequests(type) {
    await this[type].more();
    this.onChange();
  }

  #poll() {
    if (!document.hidden) void this.refresh();
  }

  /** @param {Friend[]} friends @param {Room[]} own @returns {Promise<Room[]>} */
  async #roomsOf(friends, own) {
    const ids = new Set(friends.flatMap(({ room_id: id }) => (id ? [id] : [])));
    for (const { room_id: id } of own) ids.delete(id);
    // A room may close between the two questions: it is then left out.
    const rooms = await Promise.all([...ids].map((id) => this.client.getRoom(id).catch(() => null)));
    return rooms.filter((room) => room !== null);
  }

  /** @param {string} roomId @returns {Room | undefined} */
  room(roomId) { return [...this.own, ...this.open].find(({ room_id: id }) => id === roomId); }
}
