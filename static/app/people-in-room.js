/**
 * @typedef {import('../core/types.js').Room} Room
 * @typedef {import('../ui/stage.js').Person} Person
 */

/**
 * Those in a room who can be named: its host first, then oneself, then the others in the order in which they came. The server names the
 * first 500 and counts all; the host and oneself are there in any case.
 *
 * @param {Room} room
 * @param {Room | undefined} seen the same room as the list of rooms has named it last: it names others once some have left
 * @param {string | null} userId
 * @param {(userId: string) => string} nameOf
 * @returns {Person[]}
 */
export function peopleInRoom(room, seen, userId, nameOf) {
  const { host_id: host, participants, participant_count: count } = room;
  const ids = new Set(participants);
  if (userId) ids.add(userId);
  for (const id of seen?.participants ?? []) {
    if (ids.size >= count) break;
    ids.add(id);
  }
  const people = [...ids].map((id) => ({ id, name: nameOf(id), isHost: id === host, isSelf: id === userId }));
  return people.sort((a, b) => rank(a) - rank(b));
}

/** More would not be read. */
const MOST_FOUND = 100;
/** Of a search, pages may be empty; so many are asked for at most. */
const MOST_PAGES = 10;

/**
 * Those in a large room whose names have a part, also beyond those whom the room names.
 * @param {import('../friend-room-client.js').FriendRoomClient} client
 * @param {string} text
 * @returns {Promise<import('../core/types.js').Member[]>}
 */
export async function findInRoom(client, text) {
  /** @type {import('../core/types.js').Member[]} */
  const found = [];
  let cursor = '';
  for (let page = 0; page < MOST_PAGES && found.length < MOST_FOUND && client.roomId; page += 1) {
    const { members, next_cursor: next } = await client.getMembers(client.roomId, { q: text, cursor, limit: MOST_FOUND });
    found.push(...members);
    if (!next) break;
    cursor = next;
  }
  return found;
}

/** @param {Person} person */
function rank({ isHost, isSelf }) { return isHost ? 0 : isSelf ? 1 : 2; }
