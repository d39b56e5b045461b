// Starts Tutti as its operators do: auth, room and gateway as processes of their own, with a database
// between them. PostgreSQL where TEST_POSTGRES_URL names a server, otherwise SQLite. Live state is in a Redis of
// one's own where TEST_REDIS_URL is set, otherwise in the room service.

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { eventually } from './eventually.mjs';
import { freePort, runTutti, startTutti, temporaryFolder } from './server.mjs';

/** The keys by which the parts, and an operator, name themselves. */
export const SERVICE_KEYS = 'gateway:gateway-key-1,room:room-key-1,ops:ops-key-1';

/**
 * @param {string} folder
 * @returns {{url: string, drop: () => void}} a database of one's own
 */
function database(folder) {
  const server = process.env.TEST_POSTGRES_URL;
  if (!server) return { url: `sqlite:${join(folder, 'tutti.db')}`, drop() {} };
  const name = `tutti_story_${randomBytes(6).toString('hex')}`;
  const sql = (/** @type {string} */ statement) =>
    execFileSync('psql', ['--no-psqlrc', '--quiet', '--command', statement, server], { stdio: 'pipe' });
  sql(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => sql(`DROP DATABASE ${name} WITH (FORCE)`) };
}

/** @param {number} port */
async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * @param {string} folder
 * @returns {Promise<{url: string | undefined, stop: () => Promise<void>}>} a Redis of one's own
 */
async function redis(folder) {
  if (!process.env.TEST_REDIS_URL) return { url: undefined, async stop() {} };
  const port = await freePort();
  const settings = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const child = spawn('redis-server', ['--port', String(port), ...settings], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await eventually(() => answers(port), 'Redis is there');
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      child.kill();
      await exited;
    },
  };
}

/**
 * @param {{env?: Record<string, string | undefined>}} [options] settings for all three
 */
export async function startParts({ env = {} } = {}) {
  const dataDir = temporaryFolder();
  const key = join(dataDir, 'key.pem');
  writeFileSync(key, (await runTutti(['keygen'])).stdout, { mode: 0o600 });
  const { url: DATABASE_URL, drop } = database(dataDir);
  const { url: REDIS_URL, stop: stopRedis } = await redis(dataDir);
  const shared = { DRAIN_TIME: '0s', ...env, SERVICE_KEYS, DATABASE_URL, REDIS_URL };
  const auth = await startTutti({
    role: 'auth',
    env: { ...shared, JWT_PRIVATE_KEY_FILE: key, AUTH_GRPC_ADDR: '127.0.0.1:0' },
  });
  const AUTH_URL = auth.url;
  const room = await startTutti({ role: 'room', env: { ...shared, AUTH_URL, ROOM_GRPC_ADDR: '127.0.0.1:0' } });
  const { DATABASE_URL: _, ...without } = shared;
  const gateway = await startTutti({ role: 'gateway', env: { ...without, AUTH_URL, ROOM_URL: room.url } });
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
      await stopRedis();
      drop();
    },
  };
}
