// The yardstick: the least that socket.io does for rooms on several processes. It checks the access
// token, joins, and hands a host's state on to the room through its Redis adapter, in the shape in which
// Tutti does; it stores nothing and checks nothing else.
import { createServer } from 'node:http';
import { createPublicKey, verify } from 'node:crypto';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

// An Ed25519 public key in DER is this and its 32 bytes.
const DER = '302a300506032b6570032100';
const key = createPublicKey({ key: Buffer.from(DER + process.env.PUBLIC_KEY, 'hex'), format: 'der', type: 'spki' });

const userOf = (token) => {
  const [head, payload, signature] = String(token).split('.');
  if (!verify(null, Buffer.from(`${head}.${payload}`), key, Buffer.from(signature ?? '', 'base64url'))) {
    throw new Error('AUTH_REQUIRED');
  }
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  if (claims.exp * 1000 <= Date.now()) throw new Error('AUTH_REQUIRED');
  return claims.sub;
};

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber) });
io.use((socket, next) => {
  try {
    socket.data.userId = userOf(socket.handshake.auth.token);
    next();
  } catch (error) {
    next(error);
  }
});

let version = 0;
io.on('connection', (socket) => {
  socket.on('join_room', async ({ room_id }, acknowledge) => {
    await socket.join(room_id);
    socket.data.roomId = room_id;
    acknowledge?.({ ok: true, room_id });
  });
  socket.on('sync_state', ({ playback_state, current_song }, acknowledge) => {
    const now = Date.now();
    const timestamp = new Date(now).toISOString();
    version = Math.max(version + 1, now);
    const { playing, position, current_time = position, rate = 1 } = playback_state;
    socket.to(socket.data.roomId).emit('state_synced', {
      room_id: socket.data.roomId,
      playback_state: { playing, position, current_time, timestamp, timestamp_ms: now, rate },
      current_song,
      version,
      timestamp,
    });
    acknowledge?.({ ok: true, version, timestamp });
  });
});

http.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${http.address().port}`));
const end = () => process.exit(0);
process.on('SIGTERM', end);
process.on('SIGINT', end);
