import { ClientEvent, ServerEvent } from './events.js';
import { isTransient } from './errors.js';
import { hostChanged, roomJoined, stateSent, stateSynced, userJoined, userLeft } from './room-state.js';
import { backoffMs } from './time.js';

/** A host's state is worth little later than this. */
const SYNC_DEADLINE_MS = 5_000;

/**
 * The room this client is in: joins, leaves, follows its events, and joins again after a reconnection.
 */
export class RoomLink {
  #parts;
  /** @type {import('./types.js').Room | null} */
  #room = null;
  /** Whether the present connection is attached to the room, so that requests about it make sense. */
  #attached = false;
  /** Numbers the connections, 0 while there is none: an answer may come when its own is gone. */
  #connection = 0;
  #connections = 0;
  /** Count the events, for each answer comes twice: as an event and as an acknowledgement. */
  #joins = 0;
  #leaves = 0;
  #rejoins = 0;
  /** @type {(() => void) | null} */
  #cancelRejoin = null;

  /**
   * @param {object} parts
   * @param {(event: string, payload: unknown, deadlineMs?: number) => Promise<any>} parts.request
   * @param {() => string | null} parts.userId
   * @param {import('./types.js').Time} parts.time
   * @param {() => number} parts.random
   * @param {boolean} parts.autoRejoin
   * @param {(name: 'onRoomStateChange' | 'onUserJoined' | 'onUserLeft' | 'onHostChanged' | 'onRoomJoined' | 'onRoomLeft' | 'onRoomClosed' | 'onRoomTiming', payload: any) => void} parts.notify
   * @param {(error: unknown) => void} parts.onError
   */
  constructor(parts) {
    this.#parts = parts;
  }

  get room() {
    return this.#room;
  }

  get attached() {
    return this.#attached;
  }

  get isHost() {
    return this.#room !== null && this.#room.host_id === this.#parts.userId();
  }

  /** @returns {import('./types.js').RoomState | null} */
  get state() {
    return this.#room && { ...this.#room, is_host: this.isHost };
  }

  /** @param {string} roomId @returns {Promise<import('./types.js').RoomJoinedPayload>} */
  async join(roomId) {
    const joins = this.#joins;
    const payload = await this.#parts.request(ClientEvent.JOIN_ROOM, { room_id: roomId });
    if (this.#joins === joins) this.#joined(payload);
    return payload;
  }

  /**
   * Leaves; without a connection, by not coming back.
   *
   * @returns {Promise<void>}
   */
  async leave() {
    if (!this.#room) return;
    this.#stopRejoin();
    const leaves = this.#leaves;
    try {
      // Also while a rejoin is under way: the server takes the two in the order in which we send them.
      const payload = await this.#parts.request(ClientEvent.LEAVE_ROOM, this.#here());
      if (this.#leaves === leaves) this.#left(payload);
    } catch (error) {
      const { code } = /** @type {{ code?: string }} */ (error);
      if (this.#connection !== 0 && code !== 'NOT_IN_ROOM') throw error;
      this.forget();
    }
  }

  /** @returns {Promise<import('./types.js').StateSyncedPayload>} */
  async requestSync() {
    const payload = await this.#parts.request(ClientEvent.REQUEST_SYNC, this.#here());
    this.#synced(payload);
    return payload;
  }

  /** @param {import('./types.js').HostSample} sample @returns {Promise<import('./types.js').SyncAck>} */
  async sync(sample) {
    const { playback_state, current_song } = sample;
    const payload = { ...this.#here(), playback_state, ...(current_song === undefined ? {} : { current_song }) };
    const roomId = this.#room?.room_id;
    const ack = await this.#parts.request(ClientEvent.SYNC_STATE, payload, SYNC_DEADLINE_MS);
    if (this.#room && this.#room.room_id === roomId) this.#room = stateSent(this.#room, sample, ack);
    return ack;
  }

  /** @param {import('./types.js').ListenerReport} report @returns {Promise<unknown>} */
  report(report) {
    return this.#parts.request(ClientEvent.REPORT, { ...this.#here(), ...report });
  }

  /** @param {string} userId @returns {Promise<any>} */
  transferHost(userId) {
    return this.#parts.request(ClientEvent.TRANSFER_HOST, { ...this.#here(), user_id: userId });
  }

  /** Is in no room any more, without a word to the server. */
  forget() {
    this.#room = null;
    this.#attached = false;
    this.#stopRejoin();
  }

  /** A connection is up: it is in no room until it has joined. */
  onUp() {
    this.#connection = ++this.#connections;
    this.#rejoins = 0;
    if (this.#room && this.#parts.autoRejoin) void this.#rejoin(this.#room.room_id);
  }

  onDown() {
    this.#connection = 0;
    this.#attached = false;
    this.#stopRejoin();
    if (!this.#parts.autoRejoin) this.forget();
  }

  /**
   * @param {string} name
   * @param {any} payload
   */
  onEvent(name, payload) {
    const { notify } = this.#parts;
    switch (name) {
      case ServerEvent.ROOM_JOINED:
        return this.#joined(payload);
      case ServerEvent.ROOM_LEFT:
        return this.#left(payload);
      case ServerEvent.STATE_SYNCED:
        return this.#synced(payload);
      case ServerEvent.USER_JOINED:
        if (this.#apply(userJoined, payload)) notify('onUserJoined', payload);
        return;
      case ServerEvent.USER_LEFT:
        if (this.#apply(userLeft, payload)) notify('onUserLeft', payload);
        return;
      case ServerEvent.HOST_CHANGED:
        if (!this.#apply(hostChanged, payload)) return;
        notify('onHostChanged', payload);
        notify('onRoomStateChange', this.state);
        return;
      case ServerEvent.ROOM_TIMING:
        if (this.#room?.room_id === payload.room_id) notify('onRoomTiming', payload);
        return;
      case ServerEvent.ROOM_CLOSED:
        if (this.#room?.room_id === payload.room_id) this.forget();
        notify('onRoomClosed', payload);
        return;
      default:
    }
  }

  /**
   * @template T
   * @param {(room: import('./types.js').Room, event: T) => import('./types.js').Room} change
   * @param {T} event
   * @returns {boolean} Whether anything changed.
   */
  #apply(change, event) {
    if (!this.#room) return false;
    const before = this.#room;
    this.#room = change(before, event);
    return this.#room !== before;
  }

  /** @param {import('./types.js').RoomJoinedPayload} payload */
  #joined(payload) {
    this.#joins += 1;
    this.#room = roomJoined(this.#room, payload);
    this.#attached = true;
    this.#stopRejoin();
    this.#parts.notify('onRoomJoined', payload);
    this.#parts.notify('onRoomStateChange', this.state);
  }

  /** @param {import('./types.js').RoomLeftPayload} payload */
  #left(payload) {
    this.#leaves += 1;
    // Moved to another room, we may be in that one already.
    if (this.#room?.room_id === payload.room_id) this.forget();
    this.#parts.notify('onRoomLeft', payload);
  }

  /** @param {import('./types.js').StateSyncedPayload} payload */
  #synced(payload) {
    if (this.#apply(stateSynced, payload)) this.#parts.notify('onRoomStateChange', this.state);
  }

  #here() {
    return this.#room ? { room_id: this.#room.room_id } : {};
  }

  /** @param {string} roomId */
  async #rejoin(roomId) {
    const connection = this.#connection;
    try {
      await this.join(roomId);
    } catch (error) {
      // Left, moved or disconnected meanwhile: nobody asks any more.
      if (this.#room?.room_id !== roomId || this.#attached || this.#connection !== connection) return;
      if (isTransient(error)) {
        this.#cancelRejoin = this.#parts.time.after(backoffMs(this.#rejoins++, this.#parts.random), () => void this.#rejoin(roomId));
        return;
      }
      this.forget();
      const { code } = /** @type {{ code?: string }} */ (error);
      this.#parts.notify('onRoomLeft', { room_id: roomId, reason: 'rejoin_failed', code, timestamp: new Date().toISOString() });
      this.#parts.onError(error);
    }
  }

  #stopRejoin() {
    this.#cancelRejoin?.();
    this.#cancelRejoin = null;
  }
}
