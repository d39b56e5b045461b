/**
 * @typedef {import('../core/types.js').Room} Room
 * @typedef {import('../core/types.js').Member} Member
 * @typedef {import('../ui/stage.js').Person} Person
 */

/** Members a page: the most the server lists at once. */
const PAGE = 500;
/** Of a search, pages may be empty; so many are asked for at most. */
const SEARCH_PAGES = 10;

/**
 * The people in the room. The server names the first 500 with the room's state and counts everybody; the others are listed by
 * page and found by name, and kept until they leave, the room changes, or events may have been missed.
 */
export class PeopleInRoom {
  /** Members whom the room's state may not name. @type {Set<string>} */
  #listed = new Set();
  #roomId = '';
  #cursor = '';
  /** Changes when what is listed may be wrong: answers of before do not count. */
  #epoch = 0;

  /**
   * @param {import('../friend-room-client.js').FriendRoomClient} client
   * @param {(members: Member[]) => void} learn what they are called
   */
  constructor(client, learn) {
    this.client = client;
    this.learn = learn;
  }

  /** After events may have been missed: some of those who were listed may have left. */
  forget() {
    this.#listed.clear();
    this.#cursor = '';
    this.#epoch += 1;
  }

  /** @param {string} userId */
  left(userId) { this.#listed.delete(userId); }

  /**
   * The host first, then oneself, then the others in the order in which they became known.
   * @param {Room} room
   * @param {Room | undefined} seen the same room as the list of rooms has named it last: it names others once some have left
   * @param {string | null} userId
   * @param {(userId: string) => string} nameOf
   * @returns {Person[]}
   */
  of(room, seen, userId, nameOf) {
    const { room_id: id, host_id: host, participants, participant_count: count } = room;
    if (id !== this.#roomId) {
      this.#roomId = id;
      this.forget();
    }
    const ids = new Set(participants);
    if (userId) ids.add(userId);
    for (const other of [...this.#listed, ...seen?.participants ?? []]) {
      if (ids.size >= count) break;
      ids.add(other);
    }
    const people = [...ids].map((other) => ({ id: other, name: nameOf(other), isHost: other === host, isSelf: other === userId }));
    return people.sort((a, b) => rank(a) - rank(b));
  }

  /** Lists the next page of all. */
  async more() {
    const next = await this.#list('', this.#cursor);
    if (next !== undefined) this.#cursor = next ?? '';
  }

  /**
   * Lists those whose names contain a text.
   * @param {string} text
   * @returns {Promise<boolean>} false where there may be more of them
   */
  async find(text) {
    /** @type {string | null | undefined} */
    let cursor = '';
    for (let page = 0; page < SEARCH_PAGES; page += 1) {
      cursor = await this.#list(text, cursor);
      if (!cursor) return true;
    }
    return false;
  }

  /** @param {string} q @param {string} cursor @returns {Promise<string | null | undefined>} where the next page begins; undefined if nothing counts any more */
  async #list(q, cursor) {
    const epoch = this.#epoch;
    const { members, next_cursor: next } = await this.client.getMembers(this.#roomId, { q, cursor, limit: PAGE });
    if (epoch !== this.#epoch) return undefined;
    this.learn(members);
    for (const { user_id: id } of members) this.#listed.add(id);
    return next;
  }
}

/** @param {Person} person */
function rank({ isHost, isSelf }) { return isHost ? 0 : isSelf ? 1 : 2; }
