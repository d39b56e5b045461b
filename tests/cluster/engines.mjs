// The servers that a cluster stands on, each with a folder of its own: PostgreSQL, Redis alone, with Sentinel and as a
// Cluster.

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort, Program, unprivileged, whenUp } from '../support/program.mjs';
import { Frames } from '../support/wire.mjs';

const LIBRARY = '/usr/lib/postgresql';

/** Where PostgreSQL's programs are: the newest version. */
function postgresBin() {
  const versions = existsSync(LIBRARY) ? readdirSync(LIBRARY).map(Number).sort((a, b) => a - b) : [];
  if (versions.length === 0) throw new Error(`PostgreSQL is not in ${LIBRARY}`);
  return join(LIBRARY, String(versions.at(-1)), 'bin');
}

/**
 * @param {string} folder
 * @param {{wrap?: (command: string[], identity: {uid?: number, gid?: number}) => string[]}} [options] `wrap` makes the command
 *   one that starts it in another way, as the identity it is given
 */
export async function startPostgres(folder, { wrap } = {}) {
  const home = join(folder, 'postgres');
  mkdirSync(home);
  const data = join(home, 'data');
  const bin = postgresBin();
  const identity = unprivileged('postgres', home);
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
    { ...identity, cwd: home, stdio: 'pipe' },
  );
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: home,
    max_connections: '300',
    // A process that is killed loses nothing that was committed; only a power cut would.
    fsync: 'off',
    full_page_writes: 'off',
  };
  const command = [
    join(bin, 'postgres'),
    ...['-D', data, '-p', String(port)],
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const server = new Program({
    name: 'PostgreSQL',
    command: wrap ? wrap(command, identity) : command,
    log: join(folder, 'postgres.log'),
    cwd: home,
    identity: wrap ? undefined : identity,
    // Its processes are in sessions of their own; they end with it, if it may tell them.
    lastResort: 'SIGQUIT',
  });
  const up = () => whenUp(server, async () => {
    try {
      execFileSync(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port), '-t', '1']);
      return true;
    } catch {
      return false;
    }
  });
  server.start();
  await up();
  return {
    server,
    port,
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async start() {
      server.start();
      await up();
    },
    /** Clients are sent away; otherwise it would wait for them. */
    stop: () => server.stop('SIGINT'),
    kill: () => server.kill(),
  };
}

/**
 * @param {string} server a PostgreSQL
 * @returns {{url: string, drop: () => void}} a database of one's own there
 */
export function createDatabase(server) {
  const name = `tutti_${randomBytes(6).toString('hex')}`;
  const sql = (/** @type {string} */ statement) =>
    execFileSync('psql', ['--no-psqlrc', '--quiet', '--command', statement, server], { stdio: 'pipe' });
  sql(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => sql(`DROP DATABASE ${name} WITH (FORCE)`) };
}

/** What a statement answers, one value. @param {string} database @param {string} statement */
export function query(database, statement) {
  const psql = ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--command', statement, database];
  return execFileSync('psql', psql, { stdio: 'pipe' }).toString().trim();
}

/**
 * Locks a room's row, as a slow statement of somebody else does, for so long. Resolves when it is locked.
 * @param {string} database
 * @param {string} roomId
 * @param {number} seconds
 * @returns {Promise<{ended: Promise<unknown>}>} `ended`: it is free again
 */
export async function lockRoom(database, roomId, seconds) {
  const psql = spawn('psql', ['--no-psqlrc', '--quiet', '--tuples-only', '--set', 'ON_ERROR_STOP=1', database], { stdio: 'pipe' });
  const ended = once(psql, 'exit').then(([code]) => {
    if (code !== 0) throw new Error(`psql ended with ${code}`);
  });
  psql.stdin.end(`BEGIN; SELECT room_id FROM music_rooms WHERE room_id = '${roomId}' FOR UPDATE; SELECT pg_sleep(${seconds}); COMMIT;`);
  const locked = new Promise((resolve) => psql.stdout.on('data', (said) => void (String(said).includes(roomId) && resolve(undefined))));
  await Promise.race([locked, ended]);
  return { ended };
}

/**
 * Asks a Redis once, on a connection of its own.
 * @param {number} port
 * @param {...string} command
 * @returns {Promise<string>} the answer as it comes, `+OK`; of a longer one the lines that follow the first; empty if nobody answers
 */
export function ask(port, ...command) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const frames = new Frames();
    let answer = '';
    socket.setTimeout(2000, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer.trim()));
    socket.on('data', (chunk) => {
      const [frame] = frames.take(chunk);
      if (!frame) return;
      answer = frame.toString();
      if ('$*'.includes(answer[0])) answer = answer.slice(answer.indexOf('\n') + 1);
      socket.destroy();
    });
    socket.on('connect', () =>
      socket.write(`*${command.length}\r\n${command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`));
  });
}

/**
 * @param {string} folder
 * @param {{name: string, port: number, args?: string[], env?: Record<string, string>}} options
 */
async function startRedisServer(folder, { name, port, args = [], env }) {
  const home = join(folder, name);
  mkdirSync(home, { recursive: true });
  const server = new Program({
    name,
    command: [
      'redis-server',
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', home],
      ...['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0'],
      ...args,
    ],
    env,
    log: join(folder, `${name}.log`),
  });
  const up = () => whenUp(server, async () => (await ask(port, 'PING')) !== '');
  server.start();
  await up();
  return {
    server,
    port,
    /** @param {...string} command */
    ask: (...command) => ask(port, ...command),
    /** It begins with nothing: it never wrote anything down. */
    async start() {
      server.start();
      await up();
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
  };
}

/** @typedef {Awaited<ReturnType<typeof startRedisServer>>} RedisServer */

/**
 * @typedef {object} Redis
 * @property {'single' | 'sentinel' | 'cluster'} kind
 * @property {(port?: (port: number) => number) => string} url `port` says by which port one of ours is reached
 * @property {RedisServer[]} servers the first one is the master, to begin with
 * @property {RedisServer[]} sentinels
 * @property {() => Promise<void>} stop
 */

/** @param {string} folder @param {Record<string, string>} [env] @returns {Promise<Redis>} */
export async function startRedis(folder, env) {
  const server = await startRedisServer(folder, { name: 'redis', port: await freePort(), env });
  return {
    kind: 'single',
    url: (port = (same) => same) => `redis://127.0.0.1:${port(server.port)}`,
    servers: [server],
    sentinels: [],
    async stop() {
      await server.stop();
    },
  };
}

/** A master, a replica, and three Sentinels who watch them. @param {string} folder @returns {Promise<Redis>} */
export async function startSentinel(folder) {
  const master = await startRedisServer(folder, { name: 'redis-1', port: await freePort() });
  const replica = await startRedisServer(folder, {
    name: 'redis-2',
    port: await freePort(),
    args: ['--replicaof', '127.0.0.1', String(master.port)],
  });
  const sentinels = await Promise.all([1, 2, 3].map(async (number) => {
    const port = await freePort();
    const name = `sentinel-${number}`;
    const home = join(folder, name);
    mkdirSync(home);
    const config = join(home, 'sentinel.conf');
    writeFileSync(config, [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${home}`,
      `sentinel monitor tutti 127.0.0.1 ${master.port} 2`,
      'sentinel down-after-milliseconds tutti 1000',
      'sentinel failover-timeout tutti 5000',
      '',
    ].join('\n'));
    const server = new Program({ name, command: ['redis-server', config, '--sentinel'], log: join(folder, `${name}.log`) });
    const up = () => whenUp(server, async () => (await ask(port, 'PING')) !== '');
    server.start();
    await up();
    return {
      server,
      port,
      ask: (/** @type {string[]} */ ...command) => ask(port, ...command),
      async start() {
        server.start();
        await up();
      },
      stop: () => server.stop(),
      kill: () => server.kill(),
    };
  }));
  // Before they know of each other and of the replica there is nobody to fail over to.
  for (const { server, port } of sentinels) {
    await whenUp(server, async () => (await ask(port, 'SENTINEL', 'CKQUORUM', 'tutti')).startsWith('+OK 3'));
    await whenUp(server, async () => (await ask(port, 'INFO', 'sentinel')).includes('slaves=1,sentinels=3'));
  }
  const all = [...sentinels, replica, master];
  return {
    kind: 'sentinel',
    url: (port = (same) => same) =>
      `redis+sentinel://${sentinels.map((each) => `127.0.0.1:${port(each.port)}`).join(',')}/tutti`,
    servers: [master, replica],
    sentinels,
    async stop() {
      for (const each of all) await each.stop();
    },
  };
}

/** Three masters without replicas, a third of the slots each. @param {string} folder @returns {Promise<Redis>} */
export async function startRedisCluster(folder) {
  const nodes = await Promise.all([1, 2, 3].map(async (number) => ({
    name: `redis-${number}`,
    id: randomBytes(20).toString('hex'),
    port: await freePort(),
    bus: await freePort(),
    slots: [`0-5460`, `5461-10922`, `10923-16383`][number - 1],
  })));
  const servers = await Promise.all(nodes.map((self) => {
    mkdirSync(join(folder, self.name));
    // They know each other from the start; making acquaintance would take some seconds.
    const known = nodes.map((node, place) =>
      `${node.id} 127.0.0.1:${node.port}@${node.bus} ${node === self ? 'myself,master' : 'master'} - 0 0 ${place + 1} connected ${node.slots}`);
    writeFileSync(join(folder, self.name, 'nodes.conf'), `${known.join('\n')}\nvars currentEpoch 3 lastVoteEpoch 0\n`);
    return startRedisServer(folder, {
      name: self.name,
      port: self.port,
      args: ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-port', String(self.bus), '--cluster-node-timeout', '2000'],
    });
  }));
  for (const { server, port } of servers) {
    await whenUp(server, async () => (await ask(port, 'CLUSTER', 'INFO')).includes('cluster_state:ok'));
  }
  return {
    kind: 'cluster',
    url: (port = (same) => same) => `redis+cluster://${servers.map((each) => `127.0.0.1:${port(each.port)}`).join(',')}`,
    servers,
    sentinels: [],
    async stop() {
      for (const each of servers) await each.stop();
    },
  };
}
