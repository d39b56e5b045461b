/**
 * The one table of Socket.IO event names. Nothing else in the client spells them out, and a test
 * holds this table against the gateway's.
 */

/** What a client may send. */
export const ClientEvent = Object.freeze({
  JOIN_ROOM: 'join_room',
  LEAVE_ROOM: 'leave_room_socket',
  SYNC_STATE: 'sync_state',
  REQUEST_SYNC: 'request_sync',
  TRANSFER_HOST: 'transfer_host',
  AUTHENTICATE: 'authenticate',
  PING: 'ping',
  REPORT: 'report',
});

/** What the gateway may send. */
export const ServerEvent = Object.freeze({
  CONNECTED: 'connected',
  AUTHENTICATED: 'authenticated',
  ROOM_JOINED: 'room_joined',
  ROOM_LEFT: 'room_left',
  USER_JOINED: 'user_joined',
  USER_LEFT: 'user_left',
  STATE_SYNCED: 'state_synced',
  HOST_CHANGED: 'host_changed',
  ROOM_CLOSED: 'room_closed',
  PONG: 'pong',
  ROOM_TIMING: 'room_timing',
  ERROR: 'error',
});

/** @type {readonly string[]} */
export const clientEvents = Object.freeze(Object.values(ClientEvent));

/** @type {readonly string[]} */
export const serverEvents = Object.freeze(Object.values(ServerEvent));
