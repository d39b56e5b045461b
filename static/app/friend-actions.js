import { tell } from '../ui/announce.js';
import { isolated } from '../ui/user-text.js';

/**
 * @typedef {import('../core/types.js').PublicUser} PublicUser
 * @typedef {import('../core/types.js').FriendRequest} FriendRequest
 * @typedef {import('../core/types.js').Friend} Friend
 */

/**
 * What one can do about friends. Each says that it is done.
 *
 * @param {object} parts
 * @param {import('../friend-room-client.js').FriendRoomClient} parts.client
 * @param {import('./directory.js').Directory} parts.directory
 * @param {import('./names.js').Names} parts.names
 */
export function friendActions({ client, directory, names }) {
  /** @param {Promise<unknown>} work @param {string} done */
  const then = async (work, done) => {
    await work;
    tell(done);
    await directory.refresh();
  };
  const nameOf = (/** @type {PublicUser} */ user) => isolated(user.username);
  return {
    search: async (/** @type {string} */ text) => {
      const users = await client.searchUsers(text);
      names.learn(users);
      return users;
    },
    ask: async (/** @type {PublicUser} */ user) => {
      const { status } = await client.sendFriendRequest({ receiver_id: user.user_id });
      // Whoever has asked already is a friend with that.
      tell(status === 'accepted' ? `You and ${nameOf(user)} are friends now.` : `You asked ${nameOf(user)} to be friends.`);
      await directory.refresh();
    },
    accept: (/** @type {FriendRequest} */ { request_id: id, sender }) => then(client.acceptFriendRequest(id), `You and ${nameOf(sender)} are friends now.`),
    reject: (/** @type {FriendRequest} */ { request_id: id, sender }) => then(client.rejectFriendRequest(id), `You declined the request of ${nameOf(sender)}.`),
    withdraw: (/** @type {FriendRequest} */ { request_id: id, receiver }) => then(client.withdrawFriendRequest(id), `You took back your request to ${nameOf(receiver)}.`),
    remove: (/** @type {Friend} */ friend) => then(client.removeFriend(friend.user_id), `You and ${nameOf(friend)} are no longer friends.`),
  };
}
