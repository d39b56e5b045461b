/**
 * The shapes that go over the wire and between modules, for `tsc` and for readers. No code.
 *
 * Times are RFC 3339 UTC unless a name ends in `_ms` (Unix milliseconds, server time); positions are
 * seconds. The server may add members to anything it sends.
 */

/** @typedef {{ user_id: string, username: string, name: string | null }} PublicUser */
/** @typedef {{ user_id: string, username: string }} Member */
/** @typedef {PublicUser & { email?: string, profile?: Record<string, any>, created_at?: string, last_login?: string | null }} User */

/**
 * What register, login and refresh answer.
 * @typedef {object} Session
 * @property {string} access_token
 * @property {string} [refresh_token]
 * @property {User} [user]
 * @property {string} [token_type]
 * @property {number} [expires_in] Seconds the access token lives, counted from the answer.
 * @property {number} [generation] Counts the refresh tokens of this session: of two, the one with the higher number is newer.
 * @property {boolean} [renewing] The client's own: the refresh token may have been spent, and the answer has not come.
 */

/**
 * @typedef {object} PlaybackState
 * @property {boolean} playing
 * @property {number} position Seconds.
 * @property {number} [current_time] Seconds; the same as `position`.
 * @property {string} [timestamp] When `position` was, or will be, true.
 * @property {number} [timestamp_ms] The same as `timestamp`; wins over it.
 * @property {number} [rate] 1 where absent.
 */

/** @typedef {{ title: string, artists?: string[], youtube_video_id?: string, audio_url?: string, artwork_url?: string, duration?: number, [member: string]: any }} Song */

/**
 * @typedef {object} Room
 * @property {string} room_id
 * @property {string} host_id
 * @property {string | null} name
 * @property {boolean} is_friends_only
 * @property {number} [max_participants]
 * @property {Song | null} current_song
 * @property {PlaybackState} playback_state
 * @property {string[]} participants User ids in order of joining; stops at 500.
 * @property {Member[]} [members] The same users with their names, in the same order.
 * @property {number} participant_count
 * @property {number} version
 * @property {number} [host_version] The client's own: the version at which `host_id` was said.
 * @property {string} [created_at]
 * @property {string} [last_activity]
 */

/** @typedef {Room & { is_host: boolean }} RoomState */

/** @typedef {PublicUser & { relationship: 'none' | 'friend' | 'request_sent' | 'request_received' }} FoundUser */
/** @typedef {PublicUser & { since: string, online: boolean, room_id: string | null }} Friend */
/** @typedef {{ request_id: string, sender: PublicUser, receiver: PublicUser, status: 'pending' | 'accepted' | 'rejected', created_at: string, responded_at: string | null }} FriendRequest */

/** @typedef {{ user_id: string, timestamp: string, expires_at: string }} ConnectedPayload */
/** @typedef {{ room_id: string, room_state: Omit<Room, 'room_id'>, is_host: boolean, timestamp: string }} RoomJoinedPayload */
/** @typedef {{ room_id: string, reason: string, timestamp: string, code?: string }} RoomLeftPayload */
/** @typedef {{ room_id: string, user_id: string, username: string, participant_count: number, timestamp: string }} UserPresencePayload */
/** @typedef {{ room_id: string, playback_state: PlaybackState, current_song: Song | null, version: number, timestamp: string, participant_count?: number }} StateSyncedPayload With the count where events may have been missed. */
/** @typedef {{ room_id: string, host_id: string, previous_host_id: string | null, reason: string, timestamp: string, version?: number }} HostChangedPayload */
/** @typedef {{ room_id: string, reason: string, timestamp: string }} RoomClosedPayload */
/** @typedef {{ timestamp: string, client_time_ms?: number, received_ms: number, sent_ms: number }} PongPayload */
/** @typedef {{ round_trip_ms: number, error_ms?: number | null, player?: string, dropouts?: number }} ListenerReport What a listener measured. */
/** @typedef {{ room_id: string, lead_ms: number, round_trip_ms: number, error_ms: number | null, listeners: number, timestamp: string }} RoomTimingPayload What the listeners of a room measured, together. */
/** @typedef {{ message: string, code: string }} ErrorPayload */

/** @typedef {{ playback_state: PlaybackState, current_song?: Song | null }} HostSample What a host's player says; a song left out stays, null clears it. */
/** @typedef {{ version: number, timestamp: string }} SyncAck */

/** @typedef {'connecting' | 'connected' | 'reconnecting' | 'disconnected'} ConnectionState */

/**
 * The part of a socket.io-client socket that the core uses.
 * @typedef {object} SocketLike
 * @property {boolean} connected
 * @property {(event: string, listener: (...args: any[]) => void) => unknown} on
 * @property {(event: string, ...args: any[]) => unknown} emit
 * @property {{ emit: (event: string, ...args: any[]) => unknown }} volatile
 * @property {() => unknown} connect
 * @property {() => unknown} disconnect
 * @property {any} [io] The manager, whose transports are put in another order after a failure.
 */

/**
 * Time as the core sees it; tests pass one they turn by hand.
 * @typedef {object} Time
 * @property {() => number} now Milliseconds that never go back and ignore the wall clock.
 * @property {(delayMs: number, run: () => void) => () => void} after Runs once; the answer cancels it.
 */

/** @typedef {{ request: <T>(name: string, options: { signal?: AbortSignal }, run: () => Promise<T>) => Promise<T> }} LocksLike `navigator.locks`, or the like. */

export {};
