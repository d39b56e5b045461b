// Redis with a replica and Sentinel: the master dies, and the replica takes its place.

import assert from 'node:assert/strict';
import { eventually } from '../support/api.mjs';
import { story } from '../support/story.mjs';
import { allIsWell, gather, leave, report, stage, users } from './stage.mjs';

const cluster = await stage({ redis: 'sentinel' });
const cast = await users(cluster.url, 15);
const urls = cluster.gateways.map(({ url }) => url);
const { servers, sentinels } = cluster.redis;

/** @returns {Promise<import('./engines.mjs').RedisServer>} the one that Sentinel names */
async function master() {
  const answer = await sentinels[0].ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'tutti');
  const named = servers.find(({ port }) => answer.includes(String(port)));
  assert.ok(named, `${answer} is one of ours`);
  return named;
}

/**
 * @param {import('node:test').TestContext} t
 * @param {string} fault
 * @param {(master: import('./engines.mjs').RedisServer) => unknown} fail
 * @param {(former: import('./engines.mjs').RedisServer) => unknown} repair
 */
async function failover(t, fault, fail, repair) {
  const gatherings = [];
  for (let place = 0; place < 3; place++) gatherings.push(await gather(cast.slice(5 * place, 5 * place + 5)));
  for (const { members } of gatherings) members[0].play();
  await Promise.all(gatherings.map((gathering) => gathering.recovered(performance.now())));

  const former = await master();
  const since = performance.now();
  await fail(former);
  t.after(() => repair(former));
  const promoted = await eventually(async () => {
    const now = await master();
    return now !== former && (await now.ask('ROLE')).includes('master') ? now : undefined;
  }, 'Sentinel names another one', { within: 30_000 });
  const named = performance.now();
  const ms = Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(named)))));
  const syncs = gatherings.flatMap((gathering) => gathering.syncs);
  const refused = syncs.filter(({ error }) => error).length;
  report(t, fault, `the music stays as it is; ${refused} of ${syncs.length} updates of hosts \`UNAVAILABLE\`; Sentinel took ${((named - since) / 1000).toFixed(1)} s of it`, named + ms - since);
  assert.ok(ms <= 5000, `${ms} ms after Sentinel was done`);
  await allIsWell(gatherings, urls, { socketsStay: true });
  leave(gatherings);
  await repair(former);
  // The former master follows the new one before the next story needs it.
  await eventually(async () => (await promoted.ask('INFO', 'replication')).includes('state=online'), 'the replica is back', { within: 30_000 });
  await eventually(async () => (await sentinels[0].ask('SENTINEL', 'CKQUORUM', 'tutti')).startsWith('+OK'), 'Sentinel is at ease');
}

story('the master is killed', (t) =>
  failover(t, 'Redis: the master killed, failed over by Sentinel', (each) => each.kill(), (each) => each.server.running || each.start()));

story('the master is silent, with its connections open', (t) =>
  failover(t, 'Redis: the master frozen, failed over by Sentinel', (each) => each.server.freeze(), (each) => each.server.thaw()));
