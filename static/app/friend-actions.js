import { ApiError } from '../core/errors.js';
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
  /** A request that is done with, also where somebody else was faster. @param {Promise<unknown>} work @param {string} id */
  const answered = async (work, id) => {
    const forget = () => { for (const list of [directory.received, directory.sent]) list.forget(id); };
    try {
      await work;
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 409)) forget();
      throw error;
    }
    forget();
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
    accept: (/** @type {FriendRequest} */ { request_id: id, sender }) => then(answered(client.acceptFriendRequest(id), id), `You and ${nameOf(sender)} are friends now.`),
    reject: (/** @type {FriendRequest} */ { request_id: id, sender }) => then(answered(client.rejectFriendRequest(id), id), `You declined the request of ${nameOf(sender)}.`),
    withdraw: (/** @type {FriendRequest} */ { request_id: id, receiver }) => then(answered(client.withdrawFriendRequest(id), id), `You took back your request to ${nameOf(receiver)}.`),
    more: (/** @type {'received' | 'sent'} */ type) => directory.moreRequests(type),
    remove: (/** @type {Friend} */ friend) => then(client.removeFriend(friend.user_id), `You and ${nameOf(friend)} are no longer friends.`),
  };
}
