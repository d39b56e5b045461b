// PostgreSQL is the record: without it nothing new is promised, and what plays goes on.

import assert from 'node:assert/strict';
import { createRoom, eventually } from '../support/api.mjs';
import { isProblem } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { OUTAGE_MS, allIsWell, gather, report, stage, users } from './stage.mjs';

const cluster = await stage({ wired: true });
const cast = await users(cluster.url, 16);
const urls = cluster.gateways.map(({ url }) => url);
const postgres = /** @type {NonNullable<typeof cluster.postgres>} */ (cluster.postgres);
const links = [...cluster.auths, ...cluster.rooms].map(({ name }) => cluster.wire(name, 'postgres'));

/**
 * @param {import('node:test').TestContext} t
 * @param {string} fault
 * @param {() => Promise<unknown>} begin
 * @param {() => Promise<unknown>} end
 */
async function outage(t, fault, begin, end) {
  const [writer, ...listeners] = cast;
  const gatherings = [await gather(listeners.slice(0, 7)), await gather(listeners.slice(7, 14))];
  for (const { members } of gatherings) members[0].play();
  await Promise.all(gatherings.map((gathering) => gathering.recovered(performance.now())));
  const before = await createRoom(writer);

  await begin();
  const since = performance.now();
  let answers = 0;
  while (performance.now() - since < OUTAGE_MS) {
    const asked = performance.now();
    const answer = await writer.post('/api/v1/rooms/create', { is_friends_only: false });
    isProblem(answer, 503, 'UNAVAILABLE');
    const took = performance.now() - asked;
    assert.ok(took <= 2500, `a room was refused after ${took} ms`);
    answers += 1;
    // The music goes on meanwhile, for everybody.
    for (const gathering of gatherings) await gathering.recovered(performance.now(), 2500);
  }
  const back = performance.now();
  await end();
  const room = await eventually(async () => {
    const answer = await writer.post('/api/v1/rooms/create', { is_friends_only: false });
    return answer.status === 201 ? answer.body : undefined;
  }, 'a room can be made again');
  const ms = performance.now() - back;
  const syncs = gatherings.flatMap((gathering) => gathering.syncs);
  const refused = syncs.filter(({ error }) => error).length;
  report(t, fault, `nothing, while ${syncs.length - refused} of ${syncs.length} updates were accepted; ${answers} new rooms \`UNAVAILABLE\``, ms);
  const why = syncs.filter(({ error }) => error).map(({ sentAt, settledAt, error }) =>
    `sent after ${(sentAt - since).toFixed(0)} ms, answered after ${((settledAt ?? NaN) - sentAt).toFixed(0)} ms: ${JSON.stringify(error)}`);
  assert.deepEqual(why, [], 'where the music is needs no record at once');

  for (const { room_id } of [before, room]) assert.equal((await writer.get(`/api/v1/rooms/${room_id}`)).status, 200);
  await allIsWell(gatherings, urls, { socketsStay: true });
  // What was accepted meanwhile is in the record: it is there when live state is not.
  const [redis] = cluster.redis.servers;
  const latest = gatherings.map((gathering) => /** @type {import('./people.mjs').Sync} */ (gathering.latest));
  // The running position is written at most 5 s late.
  await eventually(() => performance.now() - Math.max(...latest.map(({ settledAt }) => settledAt ?? 0)) > 6000, 'it has been written behind');
  assert.equal(await redis.ask('FLUSHALL'), '+OK');
  for (const [place, gathering] of gatherings.entries()) {
    await eventually(async () => {
      const answer = await gathering.members[0].user.get(`/api/v1/rooms/${gathering.room_id}`);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.body.playback_state.position, latest[place].position);
      return answer.body.version >= (latest[place].version ?? 0);
    }, 'the room is back from the record');
    for (const person of gathering.members) person.leave();
  }
}

story('killed, and started again', async (t) => {
  t.after(async () => void (postgres.server.running || (await postgres.start())));
  await outage(t, `PostgreSQL: killed, and back after ${OUTAGE_MS / 1000} s`, () => postgres.kill(), () => postgres.start());
});

story('out of reach, with its connections open', async (t) => {
  t.after(() => Promise.all(links.map((link) => link.mend())));
  await outage(
    t,
    `PostgreSQL: out of reach for ${OUTAGE_MS / 1000} s`,
    async () => links.forEach((link) => link.goDead()),
    () => Promise.all(links.map((link) => link.mend())),
  );
});
