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

/** @param {Person} person */
function rank({ isHost, isSelf }) { return isHost ? 0 : isSelf ? 1 : 2; }
