// A room with people in it, each of them connected: where most socket stories begin.

import { connect, createRoom } from './api.mjs';
import { isAccepted } from './expect.mjs';

/** @typedef {import('./api.mjs').User} User */
/** @typedef {import('./api.mjs').Connection} Connection */

/**
 * Connects `user` and attaches the connection to the room; what that tells this connection is taken.
 * @param {User} user
 * @param {{room_id: string}} room
 * @param {string} [transport]
 */
export async function enter(user, { room_id }, transport = 'websocket') {
  const connection = await connect(user, { transports: [transport] });
  isAccepted(await connection.emit('join_room', { room_id }));
  await connection.next('room_joined', (payload) => payload.room_id === room_id);
  return connection;
}

/**
 * Like `enter`, for somebody who was not in the room: the connections that are there have been told.
 * @param {User} user
 * @param {{room_id: string}} room
 * @param {Connection[]} there
 * @param {string} [transport]
 */
export async function arrive(user, room, there, transport) {
  const connection = await enter(user, room, transport);
  await Promise.all(there.map((other) => other.next('user_joined', ({ user_id }) => user_id === user.user_id)));
  return connection;
}

/**
 * An open room of the first user, everybody in it in this order. No inbox holds anything.
 * @param {string} transport
 * @param {User} host
 * @param {...User} guests
 */
export async function scene(transport, host, ...guests) {
  const room = await createRoom(host);
  // The host is in the room from creating it, so nobody is told.
  const connections = [await enter(host, room, transport)];
  for (const guest of guests) connections.push(await arrive(guest, room, [...connections], transport));
  return { room, connections };
}

/** A state that a host may send. @param {Record<string, unknown>} [changes] */
export function playing(changes = {}) {
  return { playing: true, position: 12.5, ...changes };
}

export const SONG = {
  title: 'Song Title',
  artists: ['Artist'],
  youtube_video_id: 'xxx',
};
