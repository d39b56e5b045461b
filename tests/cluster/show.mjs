// What `scripts/cluster` runs: a cluster to look at, and to break by hand.

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startCluster } from './cluster.mjs';

/** @typedef {import('./cluster.mjs').Part} Part */

// What is on the table is how they work together; who listens where is decided here.
const SETTINGS = /^(RATE|SOCKET|ACCESS_TOKEN|REFRESH_TOKEN|PRESENCE|ROOM_EMPTY|FRIEND|CLEANUP|DRAIN|ALLOWED|OTEL|RUST|LOG)_/;

const { values: options } = parseArgs({
  options: {
    nginx: { type: 'boolean', default: false },
    'redis-cluster': { type: 'boolean', default: false },
    sentinel: { type: 'boolean', default: false },
    port: { type: 'string' },
  },
});

/** @type {Awaited<ReturnType<typeof startCluster>> | undefined} */
let cluster;
let ending = false;

async function end() {
  // Asked twice, or before there is anything to end in order: `exit` takes away what was started.
  if (ending || !cluster) process.exit(130);
  ending = true;
  console.log('\nending everything; once more to kill it');
  await cluster.stop();
  process.exit(0);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void end());

cluster = await startCluster({
  proxy: options.nginx ? 'nginx' : 'haproxy',
  redis: options['redis-cluster'] ? 'cluster' : options.sentinel ? 'sentinel' : 'single',
  port: options.port === undefined ? undefined : Number(options.port),
  env: Object.fromEntries(Object.entries(process.env).filter(([name]) => SETTINGS.test(name))),
});
const { parts, postgres, redis, proxy, folder } = cluster;

/** @type {[name: string, program: import('../support/program.mjs').Program, address: string, note: string][]} */
const rows = [
  [proxy.server.name, proxy.server, proxy.url, 'the web address'],
  ...[...parts].reverse().map((part) => /** @type {typeof rows[0]} */ (
    [part.name, part.program, part.role === 'gateway' ? part.url : part.url.replace('http', 'grpc'), `${part.adminUrl}/metrics`])),
  ...[...redis.servers, ...redis.sentinels].map(({ server, port }) => /** @type {typeof rows[0]} */ (
    [server.name, server, `redis://127.0.0.1:${port}`, `redis-cli -p ${port}`])),
];
if (postgres) rows.push(['postgres', postgres.server, `postgresql://127.0.0.1:${postgres.port}`, `psql ${cluster.databaseUrl}`]);

console.log(`
Tutti is at ${cluster.url}

${rows.map(([name, { pid }, address, note]) => `${name.padEnd(11)}${String(pid).padStart(8)}  ${address.padEnd(27)}  ${note}`).join('\n')}

logs        ${folder}/*.log
kill one    kill -9 ${cluster.gateways[0].pid}   or type: kill gateway-1, stop room-2, freeze redis, thaw redis, start gateway-1
end all     Ctrl-C
`);

for (const [name, program] of rows) watch(name, program);

/** Says when one ends. @param {string} name @param {import('../support/program.mjs').Program} program */
function watch(name, program) {
  void program.ended.then(({ code, signal }) => ending || console.log(`${name} has ended (${code ?? signal})`));
}

// Without it this would end with its input: none of the programs keeps us.
setInterval(() => {}, 2 ** 30);

const commands = /** @type {const} */ (['kill', 'stop', 'freeze', 'thaw', 'start']);
createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, name] = line.trim().split(/\s+/);
  const command = commands.find((each) => each === word);
  const row = rows.find(([each]) => each.toLowerCase() === name?.toLowerCase());
  if (!command || !row) {
    console.log(`${commands.join(', ')} and one of ${rows.map(([each]) => each).join(', ')}`);
    return;
  }
  const [, program] = row;
  Promise.resolve()
    .then(async () => void (await program[command]()))
    .then(
      () => {
        console.log(`${command} ${row[0]}: done${program.running ? ` (${program.pid})` : ''}`);
        if (command === 'start') watch(row[0], program);
      },
      (error) => console.log(error.message),
    );
});
