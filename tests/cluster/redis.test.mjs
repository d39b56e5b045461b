// Redis is the working copy: it may be emptied, killed, or stop answering.

import assert from 'node:assert/strict';
import { createRoom, eventually } from '../support/api.mjs';
import { isProblem } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { query } from './engines.mjs';
import { OUTAGE_MS, allIsWell, gather, leave, playing, report, stage, users } from './stage.mjs';

const cluster = await stage();
const cast = await users(cluster.url, 18);
const urls = cluster.gateways.map(({ url }) => url);
const [redis] = cluster.redis.servers;

async function playingRooms() {
  const gatherings = [];
  for (let place = 0; place < 3; place++) gatherings.push(await gather(cast.slice(6 * place, 6 * place + 6)));
  return playing(gatherings);
}

/**
 * Everybody goes on where they were: the same hosts, the same people, versions above, nobody thrown out.
 * @param {import('./people.mjs').Gathering[]} gatherings
 */
async function allIsAsBefore(gatherings) {
  await allIsWell(gatherings, urls, { socketsStay: true });
  for (const gathering of gatherings) {
    const answer = await gathering.members[0].user.get(`/api/v1/rooms/${gathering.room_id}`);
    assert.deepEqual(answer.body.participants, gathering.members.map(({ user_id }) => user_id), 'in the order in which they came');
  }
  leave(gatherings);
}

/** @param {import('./people.mjs').Gathering[]} gatherings @param {number} since */
const slowest = async (gatherings, since) =>
  Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(since)))));

story('emptied in the middle of play', async (t) => {
  const gatherings = await playingRooms();
  const since = performance.now();
  assert.equal(await redis.ask('FLUSHALL'), '+OK');
  const ms = await slowest(gatherings, since);
  report(t, 'Redis: `FLUSHALL`', `nothing; ${refused(gatherings)}`, ms);
  assert.ok(ms <= 3000, `${ms} ms`);
  await allIsAsBefore(gatherings);
});

story('killed, and started again with nothing in it', async (t) => {
  t.after(async () => void (redis.server.running || (await redis.start())));
  const gatherings = await playingRooms();
  await redis.kill();
  await outage(gatherings);
  const since = performance.now();
  await redis.start();
  const ms = await slowest(gatherings, since);
  report(t, `Redis: killed, and back empty after ${OUTAGE_MS / 1000} s`, `the music stays as it is; ${refused(gatherings)}`, ms);
  assert.ok(ms <= 3000, `${ms} ms`);
  await allIsAsBefore(gatherings);
});

story('silent, with its connections open', async (t) => {
  t.after(() => redis.server.thaw());
  const gatherings = await playingRooms();
  redis.server.freeze();
  await outage(gatherings);
  const since = performance.now();
  redis.server.thaw();
  const ms = await slowest(gatherings, since);
  report(t, `Redis: frozen for ${OUTAGE_MS / 1000} s (SIGSTOP)`, `the music stays as it is; ${refused(gatherings)}`, ms);
  assert.ok(ms <= 3000, `${ms} ms`);
  await allIsAsBefore(gatherings);
});

/** Lets the outage last its time; hosts go on sending, and are answered. @param {import('./people.mjs').Gathering[]} gatherings */
async function outage(gatherings) {
  // This is the fault itself, not a wait for something.
  await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
  for (const { syncs } of gatherings) assert.ok(syncs.some(({ error }) => error?.code === 'UNAVAILABLE'), 'it was noticed');
}

/** @param {import('./people.mjs').Gathering[]} gatherings */
function refused(gatherings) {
  const syncs = gatherings.flatMap((gathering) => gathering.syncs);
  return `${syncs.filter(({ error }) => error).length} of ${syncs.length} updates of hosts \`UNAVAILABLE\``;
}

story('it refuses to write, as a master does that has lost its replicas', async (t) => {
  const settings = (/** @type {string} */ value) => redis.ask('CONFIG', 'SET', 'min-replicas-to-write', value);
  t.after(() => settings('0'));
  // Nobody of those who were in rooms before.
  const [ann, ben, cat] = await users(cluster.url, 3, 'newcomer');
  const [kept, closed] = [await createRoom(ann), await createRoom(ann)];
  assert.equal((await ben.post('/api/v1/rooms/join', { room_id: closed.room_id })).status, 200);
  await settings('1');
  for (let round = 0; round < 5; round++) isProblem(await cat.post('/api/v1/rooms/create', {}), 503, 'UNAVAILABLE');
  isProblem(await ann.delete(`/api/v1/rooms/${closed.room_id}`), 503, 'UNAVAILABLE');
  isProblem(await cat.post('/api/v1/rooms/join', { room_id: closed.room_id }), 503, 'UNAVAILABLE');
  await settings('0');
  // What was refused can be done, and what could not be made is nowhere.
  const since = performance.now();
  assert.equal((await cat.post('/api/v1/rooms/join', { room_id: kept.room_id })).status, 200);
  assert.equal((await ann.delete(`/api/v1/rooms/${closed.room_id}`)).status, 204);
  isProblem(await cat.post('/api/v1/rooms/join', { room_id: closed.room_id }), 404, 'JOIN_FAILED');
  const record = () => query(cluster.databaseUrl, `SELECT room_id FROM music_rooms WHERE host_id IN ('${ann.user_id}', '${cat.user_id}')`);
  await eventually(() => record() === kept.room_id, 'the record has no other room of theirs', { within: 15_000 });
  report(t, 'Redis refuses to write', 'rooms cannot be made, joined or closed: `UNAVAILABLE`', performance.now() - since);
  assert.deepEqual((await cat.get('/api/v1/rooms')).body.rooms.map((/** @type {any} */ { room_id }) => room_id), [kept.room_id]);
});
