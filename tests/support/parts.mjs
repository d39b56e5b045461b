// Starts Tutti as its operators do: auth, room and gateway as processes of their own, with a database
// between them. PostgreSQL where TEST_POSTGRES_URL names a server, otherwise SQLite. Live state is in a Redis of
// one's own where TEST_REDIS_URL is set, otherwise in the room service.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDatabase, startRedis } from '../cluster/engines.mjs';
import { eventually } from './eventually.mjs';
import { runTutti, startTutti, temporaryFolder } from './server.mjs';

/** The keys by which the parts, and an operator, name themselves. */
// The parts' keys may do what those of deploy/make-secrets may.
export const SERVICE_KEYS = 'gateway(auth+friends+rooms):gateway-key-1,room(auth.read+friends.read):room-key-1,ops:ops-key-1';

/**
 * @param {string} folder
 * @returns {{url: string, drop: () => void}} a database of one's own
 */
function database(folder) {
  const server = process.env.TEST_POSTGRES_URL;
  return server ? createDatabase(server) : { url: `sqlite:${join(folder, 'tutti.db')}`, drop() {} };
}

/**
 * @param {object} [options]
 * @param {Record<string, string | undefined>} [options.env] settings for all three
 * @param {number} [options.files] how many files the gateway may open
 */
export async function startParts({ env = {}, files } = {}) {
  const dataDir = temporaryFolder();
  const key = join(dataDir, 'key.pem');
  writeFileSync(key, (await runTutti(['keygen'])).stdout, { mode: 0o600 });
  const { url: DATABASE_URL, drop } = database(dataDir);
  const redis = process.env.TEST_REDIS_URL ? await startRedis(dataDir) : undefined;
  const shared = { DRAIN_TIME: '0s', ...env, SERVICE_KEYS, DATABASE_URL, REDIS_URL: redis?.url() };
  const auth = await startTutti({
    role: 'auth',
    env: { ...shared, JWT_PRIVATE_KEY_FILE: key, AUTH_GRPC_ADDR: '127.0.0.1:0' },
  });
  const AUTH_URL = auth.url;
  const room = await startTutti({ role: 'room', env: { ...shared, AUTH_URL, ROOM_GRPC_ADDR: '127.0.0.1:0' } });
  const { DATABASE_URL: _, ...without } = shared;
  const gateway = await startTutti({ role: 'gateway', files, env: { ...without, AUTH_URL, ROOM_URL: room.url } });
  await eventually(async () => (await fetch(`${gateway.url}/readyz`)).ok, 'the gateway is ready');
  const parts = [gateway, room, auth];
  return {
    url: gateway.url,
    wsUrl: gateway.wsUrl,
    dataDir,
    stdout: () => parts.map((part) => part.stdout()).join(''),
    stderr: () => parts.map((part) => part.stderr()).join(''),
    /** Ends all three in order, the one that needs the others first. */
    async stop() {
      for (const part of parts) await part.stop();
      await redis?.stop();
      drop();
    },
  };
}
