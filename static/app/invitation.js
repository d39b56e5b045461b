import { isolated } from '../ui/user-text.js';
import { inWords } from './words.js';

/**
 * @typedef {import('../core/types.js').Room} Room
 * @typedef {import('../ui/invitation-notice.js').NoticeShown} NoticeShown
 */

/**
 * A link to a room that did not let this user in. It is kept until the room is joined or the user puts the link
 * aside: whoever followed it may not find it a second time.
 */
export class Invitation {
  /** What the server tells of the room: nothing, unless this user may see it. @type {Room | null} */
  room = null;
  /** What stood in the way if it was not the room, in words. */
  trouble = '';

  /** @param {string} roomId */
  constructor(roomId) { this.roomId = roomId; }

  /** Whether the room would let this user in, as far as is known. */
  get isOpen() {
    return this.room !== null && this.room.participant_count < (this.room.max_participants ?? Infinity);
  }

  /**
   * Finds out why the room could not be joined.
   * @param {unknown} error of the attempt
   * @param {(roomId: string) => Promise<Room>} getRoom
   */
  async refused(error, getRoom) {
    const { code } = /** @type {{code?: string}} */ (error ?? {});
    this.trouble = code === 'JOIN_FAILED' ? '' : inWords(error);
    // A room that is full may be seen; one that is for others, or gone, may not.
    this.room = this.trouble ? null : await getRoom(this.roomId).catch(() => null);
  }

  /** Those who are in the room, as far as it may be seen. */
  get members() { return this.room?.members ?? []; }

  /** @param {Room | undefined} room as the lists of rooms name it; whether that is news */
  found(room) {
    if (!room) return false;
    const wasOpen = this.isOpen;
    this.room = room;
    return this.isOpen && !wasOpen;
  }

  /**
   * @param {string} title the room's, where it is known
   * @param {(userId: string) => string} nameOf
   * @param {string} username
   * @returns {NoticeShown}
   */
  inWords(title, nameOf, username) {
    const { room } = this;
    if (this.trouble) return { title: 'The room could not be reached', text: this.trouble, findsHost: false };
    if (!room) {
      return {
        title: 'This room is not open to you yet',
        text: 'It may be for friends of its host only, or closed. Ask whoever sent you the link to add you as a friend: '
          + `your username is ${isolated(username)}. Or find them and ask them yourself. The link is kept here.`,
        findsHost: true,
      };
    }
    const leads = `${isolated(nameOf(room.host_id))} leads it.`;
    return this.isOpen
      ? { title: `${isolated(title)} is open to you now`, text: leads, findsHost: false }
      : { title: `${isolated(title)} is full`, text: `${leads} Try again when somebody has left. The link is kept here.`, findsHost: false };
  }
}
