// A whole Tutti on this machine: PostgreSQL, Redis, two auth, two room and three gateways behind a balancer. What
// `scripts/cluster` shows and what the tests in this folder break.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { binary, freePort, Program, removeFolder, temporaryFolder, whenUp, withFileLimit } from '../support/program.mjs';
import { SERVICE_KEYS } from '../support/parts.mjs';
import { Wire } from '../support/wire.mjs';
import { createDatabase, startPostgres, startRedis, startRedisCluster, startSentinel } from './engines.mjs';
import { startHaproxy, startNginx } from './proxies.mjs';

const REDIS = { single: startRedis, sentinel: startSentinel, cluster: startRedisCluster };
const PROXIES = { haproxy: startHaproxy, nginx: startNginx };

/** @typedef {'auth' | 'room' | 'gateway'} Role */

/** One process of Tutti. It keeps its ports when it is started again. */
export class Part {
  /**
   * @param {Role} role
   * @param {number} number from 1
   * @param {{port: number, adminPort: number, env: Record<string, string | undefined>, folder: string, files?: number}} parts
   */
  constructor(role, number, { port, adminPort, env, folder, files }) {
    this.role = role;
    this.name = `${role}-${number}`;
    this.port = port;
    this.adminPort = adminPort;
    const data = join(folder, this.name);
    mkdirSync(data);
    const address = { auth: 'AUTH_GRPC_ADDR', room: 'ROOM_GRPC_ADDR', gateway: 'HTTP_ADDR' }[role];
    this.program = new Program({
      name: this.name,
      command: withFileLimit([binary(), role], files),
      env: {
        RUST_BACKTRACE: '1',
        TUTTI_DATA_DIR: data,
        [address]: `127.0.0.1:${port}`,
        ADMIN_ADDR: `127.0.0.1:${adminPort}`,
        ...env,
      },
      log: join(folder, `${this.name}.log`),
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }
  get adminUrl() {
    return `http://127.0.0.1:${this.adminPort}`;
  }
  get pid() {
    return this.program.pid;
  }

  /** Whether it says that it can serve. */
  async ready() {
    try {
      const answer = await fetch(`${this.adminUrl}/readyz`, { signal: AbortSignal.timeout(3000) });
      await answer.arrayBuffer();
      return answer.ok;
    } catch {
      return false;
    }
  }

  /** @returns {Promise<string>} its metrics */
  async metrics() {
    return (await fetch(`${this.adminUrl}/metrics`)).text();
  }

  /** @param {Record<string, string | undefined>} [env] settings that differ from now on */
  async start(env) {
    this.program.start(env);
    await whenUp(this.program, () => this.ready());
  }

  /** Ends it in order, which must go well. */
  async stop() {
    if (!this.program.running) return { code: 0, signal: null, ms: 0 };
    const end = await this.program.stop();
    if (end.code !== 0) throw new Error(`${this.name} ended with ${end.code ?? end.signal}\n${this.program.text().slice(-4000)}`);
    return end;
  }

  kill() {
    return this.program.kill();
  }

  async restart() {
    const end = await this.stop();
    await this.start();
    return end;
  }
}

/**
 * @typedef {object} ClusterOptions
 * @property {Record<string, string | undefined>} [env] settings for every part
 * @property {keyof typeof PROXIES} [proxy]
 * @property {keyof typeof REDIS} [redis]
 * @property {Record<string, string>} [redisEnv] what a single Redis is started with
 * @property {string} [postgres] a server to have a database in; one of its own if left out
 * @property {boolean} [wired] every link to a service goes through a {@link Wire}
 * @property {number} [port] the balancer's; a free one if left out
 * @property {number} [auths]
 * @property {number} [rooms]
 * @property {number} [gateways]
 * @property {number} [files] how many files a gateway may open
 */

/** @param {ClusterOptions} [options] */
export async function startCluster({
  env = {},
  proxy: proxyKind = 'haproxy',
  redis: redisKind = 'single',
  redisEnv,
  postgres: server,
  wired = false,
  port,
  auths: authCount = 2,
  rooms: roomCount = 2,
  gateways: gatewayCount = 3,
  files,
} = {}) {
  const folder = temporaryFolder('tutti-cluster');
  const key = join(folder, 'key.pem');
  writeFileSync(key, execFileSync(binary(), ['keygen'], { env: { PATH: process.env.PATH } }), { mode: 0o600 });
  const [postgres, redis] = await Promise.all([server ? undefined : startPostgres(folder), REDIS[redisKind](folder, redisEnv)]);
  const database = createDatabase(server ?? /** @type {{url: string}} */ (postgres).url);
  const databasePort = Number(new URL(database.url).port);

  /** @type {Map<string, Wire>} */
  const wires = new Map();
  /** By which port `from` reaches a port. @param {string} from @param {string} to @param {number} port */
  async function reach(from, to, port) {
    if (!wired) return port;
    const wire = await Wire.open(port);
    wires.set(`${from} ${to}`, wire);
    return wire.port;
  }
  /** @param {string} from @returns {Promise<string>} where Redis is, for it */
  async function redisUrl(from) {
    const ports = new Map();
    for (const [place, { port }] of [...redis.servers, ...redis.sentinels].entries()) {
      // Those of a Cluster and of Sentinel name each other's ports, so only a single one can be behind a wire.
      ports.set(port, redis.kind === 'single' ? await reach(from, place === 0 ? 'redis' : `redis-${place + 1}`, port) : port);
    }
    return redis.url((port) => ports.get(port));
  }
  /** @param {string} from */
  async function databaseUrl(from) {
    const url = new URL(database.url);
    url.port = String(await reach(from, 'postgres', databasePort));
    return url.href;
  }
  /** Where all of them are, for `from`. @param {string} from @param {Part[]} parts */
  async function urls(from, parts) {
    const ports = [];
    for (const { name, port } of parts) ports.push(await reach(from, name, port));
    return ports.map((port) => `http://127.0.0.1:${port}`).join(',');
  }

  /** @param {Role} role @param {number} count @param {(name: string) => Promise<Record<string, string | undefined>>} settings */
  async function parts(role, count, settings) {
    const made = [];
    for (let number = 1; number <= count; number++) {
      const own = await settings(`${role}-${number}`);
      const ports = { port: await freePort(), adminPort: await freePort() };
      const common = { SERVICE_KEYS, REDIS_URL: await redisUrl(`${role}-${number}`) };
      made.push(new Part(role, number, { ...ports, env: { ...common, ...own, ...env }, folder, files: role === 'gateway' ? files : undefined }));
    }
    return made;
  }
  const auths = await parts('auth', authCount, async (name) => ({ DATABASE_URL: await databaseUrl(name), JWT_PRIVATE_KEY_FILE: key }));
  const rooms = await parts('room', roomCount, async (name) => ({ DATABASE_URL: await databaseUrl(name), AUTH_URL: await urls(name, auths) }));
  const gateways = await parts('gateway', gatewayCount, async (name) => ({
    TRUSTED_PROXIES: '1',
    AUTH_URL: await urls(name, auths),
    ROOM_URL: await urls(name, rooms),
  }));
  const all = [...auths, ...rooms, ...gateways];
  await Promise.all(all.map((part) => part.start()));
  const proxy = await PROXIES[proxyKind](folder, gateways.map((part) => `127.0.0.1:${part.port}`), port);

  return {
    url: proxy.url,
    wsUrl: proxy.url.replace('http', 'ws'),
    folder,
    dataDir: folder,
    databaseUrl: database.url,
    proxy,
    postgres,
    redis,
    auths,
    rooms,
    gateways,
    parts: all,
    stdout: () => '',
    stderr: () => all.map(({ program }) => program.text()).join(''),
    /** @param {string} from @param {string} to */
    wire(from, to) {
      const wire = wires.get(`${from} ${to}`);
      if (!wire) throw new Error(`there is no wire from ${from} to ${to}; there are\n${[...wires.keys()].join('\n')}`);
      return wire;
    },
    /** Starts again whatever a story that failed has left dead. */
    async repair() {
      await Promise.all(all.filter(({ program }) => !program.running).map((part) => part.start()));
    },
    /** Ends everything in order, those first that need the others. */
    async stop() {
      await proxy.stop();
      for (const role of [gateways, rooms, auths]) await Promise.all(role.map((part) => part.stop()));
      await Promise.all([...wires.values()].map((wire) => wire.close()));
      if (server) database.drop();
      await Promise.all([redis.stop(), postgres?.stop()]);
      removeFolder(folder);
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof startCluster>>} Cluster */
