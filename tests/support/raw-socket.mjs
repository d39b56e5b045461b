// A WebSocket by hand: what a client library would not send can be sent with it.

import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';

/**
 * A frame as clients send it.
 * @param {number} opcode @param {string | Uint8Array} [payload] at most 125 bytes
 */
export function frame(opcode, payload = '') {
  const data = Buffer.from(payload);
  const mask = randomBytes(4);
  const masked = data.map((byte, index) => byte ^ mask[index % 4]);
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | data.length]), mask, masked]);
}

export const PING = 9;

/** Connects, and begins a session of Engine.IO; resolves to the socket once the server has agreed. @param {string} url */
export async function rawSocket(url) {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on('error', () => socket.destroy());
  const key = randomBytes(16).toString('base64');
  socket.write(
    `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\n` +
      `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  const head = await new Promise((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('close', () => reject(new Error('closed at once')));
  });
  if (!String(head).startsWith('HTTP/1.1 101')) throw new Error(String(head));
  return socket;
}
