// Clocks of a cluster that are set while music plays: that of a gateway's machine, that of a room process's, and that of
// Redis, by which all go. Who starts later agrees with those who have been there since before.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { connect, eventually, login } from '../support/api.mjs';
import { temporaryFolder } from '../support/program.mjs';
import { story } from '../support/story.mjs';
import { aheadMs, CLOSE_MS, saidOffsetMs, WallClock } from '../support/wall-clock.mjs';
import { allIsWell, gather, leave, playing, stage, users } from './stage.mjs';

/** @typedef {import('./cluster.mjs').Part} Part */

const folder = temporaryFolder();
const [ofRedis, ofGateway, ofRoom] = ['redis', 'gateway', 'room'].map((name) => new WallClock(join(folder, name)));
const cluster = await stage({ auths: 1, rooms: 2, gateways: 2, redisEnv: ofRedis.env });
const [redis] = cluster.redis.servers;
const [gateway, other] = cluster.gateways;
const [room] = cluster.rooms;
for (const [part, clock] of /** @type {const} */ ([[gateway, ofGateway], [room, ofRoom]])) {
  await part.stop();
  await part.start(clock.env);
}
const cast = await users(cluster.url, 4);
const urls = cluster.gateways.map(({ url }) => url);

/** How far the time of a gateway is ahead of the right one. @param {Part} part */
async function ahead(part) {
  const user = await login(cast[0]);
  user.url = part.url;
  const connection = await connect(user);
  const ms = await aheadMs(connection);
  connection.close();
  return ms;
}

/** @param {string} when */
async function allGatewaysAreRight(when) {
  for (const part of cluster.gateways) {
    const ms = await ahead(part);
    assert.ok(Math.abs(ms) <= CLOSE_MS, `${part.name} is ${ms} ms ahead ${when}`);
  }
}

/** What is added to Redis's clock, in milliseconds. */
async function added() {
  const answer = await redis.ask('HGET', 'tutti:{clock}', 'ahead');
  return answer === '-1' || answer === '' ? undefined : Number(answer) / 1000;
}

/** Processes that have known the time for a while have looked since. */
async function confirmed() {
  const count = async () => Number(await redis.ask('HGET', 'tutti:{clock}', 'confirmed'));
  const before = await count();
  await eventually(async () => (await count()) >= before + cluster.parts.length, 'all agree on the time');
}

/** @param {number} ms how far ahead Redis's clock is */
const addedMakesUpFor = (ms) =>
  eventually(async () => Math.abs(((await added()) ?? NaN) + ms) < CLOSE_MS, `what is added makes up for ${ms} ms`);

story('the clock of a machine is set, and nobody hears it', async () => {
  const gathering = await gather(cast, { urls: cast.map((_, place) => urls[place % 2]) });
  await playing([gathering]);
  for (const ms of [-120_000, 45_000]) {
    for (const [part, clock] of /** @type {const} */ ([[gateway, ofGateway], [room, ofRoom]])) {
      clock.set(ms);
      await eventually(async () => Math.abs(/** @type {number} */ (saidOffsetMs(await part.metrics())) + ms) < CLOSE_MS, `${part.name} says so`);
    }
    await allGatewaysAreRight(`when two machines' clocks are ${ms} ms ahead`);
    await gathering.recovered(performance.now());
  }
  await allIsWell([gathering], urls, { socketsStay: true });
  leave([gathering]);
});

story("Redis's clock is set and Redis is emptied, and nobody hears it, nor is it otherwise for who starts then", async (t) => {
  const gathering = await gather(cast, { urls: cast.map((_, place) => urls[place % 2]) });
  await playing([gathering]);
  await confirmed();
  for (const ms of [45_000, -75_000]) {
    ofRedis.set(ms);
    await allGatewaysAreRight(`right after Redis's clock was set to ${ms} ms ahead`);
    await addedMakesUpFor(ms);
    await allGatewaysAreRight(`when Redis's clock is ${ms} ms ahead`);
    await gathering.recovered(performance.now());
    await confirmed();
  }
  await allIsWell([gathering], urls, { socketsStay: true });
  leave([gathering]);

  await other.restart();
  t.diagnostic(`started after the step: ${(await ahead(other)).toFixed(1)} ms, before: ${(await ahead(gateway)).toFixed(1)} ms ahead`);
  await allGatewaysAreRight('when one was started after the step');

  await redis.ask('FLUSHALL');
  await addedMakesUpFor(ofRedis.setByMs);
  await other.restart();
  await allGatewaysAreRight('when Redis was emptied');
});
