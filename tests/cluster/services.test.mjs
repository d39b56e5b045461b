// auth and room processes that die, and a whole cluster that is restarted piece by piece while everybody plays.

import assert from 'node:assert/strict';
import { api, createRoom, eventually, login } from '../support/api.mjs';
import { isProblem } from '../support/expect.mjs';
import { hangUpOnLogins, hashesIn } from '../support/hang-up.mjs';
import { story } from '../support/story.mjs';
import { allIsWell, gather, leave, playing, report, stage, users } from './stage.mjs';

const cluster = await stage();
const cast = await users(cluster.url, 20);
const urls = cluster.gateways.map(({ url }) => url);

/** Each room's first member hosts and plays. @param {number} rooms @param {number} size */
async function playingRooms(rooms, size) {
  const gatherings = [];
  for (let place = 0; place < rooms; place++) gatherings.push(await gather(cast.slice(size * place, size * (place + 1))));
  return playing(gatherings);
}

story('a room process that is killed takes no room with it', async (t) => {
  t.after(() => cluster.repair());
  const gatherings = await playingRooms(4, 5);
  const since = performance.now();
  await cluster.rooms[0].kill();
  const slowest = Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(since)))));
  assert.ok(slowest <= 5000, `${slowest} ms`);
  const refused = gatherings.flatMap(({ syncs }) => syncs).filter(({ error }) => error).length;
  report(t, '`kill -9` of a room process', `nothing; ${refused} updates of hosts were answered \`UNAVAILABLE\``, slowest);
  for (const person of gatherings.flatMap(({ members }) => members)) assert.equal(person.times('(down)'), 0, 'sockets stay');
  await cluster.rooms[0].start();
  const again = performance.now();
  await Promise.all(gatherings.map((gathering) => gathering.recovered(again)));
  await allIsWell(gatherings, urls);
  leave(gatherings);
});

story('an auth process that is killed is missed for a moment by those who log in, and by nobody else', async (t) => {
  t.after(() => cluster.repair());
  const gatherings = await playingRooms(2, 5);
  const since = performance.now();
  await cluster.auths[0].kill();
  let refused = 0;
  let lastRefusal = since;
  // From every gateway, several times: each of the two processes would be asked.
  await Promise.all(cluster.gateways.map(async ({ url }) => {
    for (let inARow = 0; inARow < 4; inARow++) {
      const asked = performance.now();
      const answer = await api(url)('POST', '/api/v1/auth/login', { body: { login: cast[0].username, password: cast[0].password } });
      if (answer.status === 200) continue;
      isProblem(answer, 503, 'UNAVAILABLE');
      const now = performance.now();
      // Hashing the password takes its time; not being able to does not.
      assert.ok(now - asked <= 2500, `refused after ${now - asked} ms`);
      assert.ok(now - since <= 5000, `still refused after ${now - since} ms`);
      [inARow, refused, lastRefusal] = [-1, refused + 1, Math.max(lastRefusal, now)];
    }
  }));
  report(t, '`kill -9` of an auth process', `those in rooms nothing; of those who logged in ${refused} were answered \`UNAVAILABLE\``, lastRefusal - since);
  await Promise.all(gatherings.map((gathering) => gathering.recovered(performance.now())));
  for (const person of gatherings.flatMap(({ members }) => members)) assert.equal(person.times('(down)'), 0, 'sockets stay');
  await allIsWell(gatherings, urls);
  leave(gatherings);
});

story('no password is hashed for a login that hangs up on the balancer', async (t) => {
  const hashed = async () => {
    const metrics = await Promise.all(cluster.auths.map((auth) => auth.metrics()));
    return metrics.map(hashesIn).reduce((sum, count) => sum + count);
  };
  const before = await hashed();
  await hangUpOnLogins(cluster.url, 300);
  const { username, password } = cast[0];
  const answer = await api(cluster.url)('POST', '/api/v1/auth/login', { body: { login: username, password } });
  assert.equal(answer.status, 200, answer.text);
  const count = (await hashed()) - before;
  t.diagnostic(`${count} of 301 were hashed`);
  assert.ok(count <= 150, `${count} of 301`);
});

story('a rolling restart of everything loses nothing that was acknowledged', async (t) => {
  t.after(() => cluster.repair());
  const gatherings = await playingRooms(3, 5);
  const [writer] = cast.slice(15);
  /** @type {string[]} */
  const acknowledged = [];
  const refused = [];
  let rolling = true;
  const writing = (async () => {
    for (let each = 0; rolling; each++) {
      const begin = performance.now();
      const answer = await writer.post('/api/v1/rooms/create', { is_friends_only: false, name: `Room ${each}` });
      const took = performance.now() - begin;
      assert.ok(took <= 2500, `a room took ${took} ms`);
      if (answer.status === 201) acknowledged.push(answer.body.room_id);
      else refused.push(answer.text);
      if (answer.status !== 201) assert.equal(answer.body?.code, 'UNAVAILABLE', answer.text);
    }
  })();
  const begin = performance.now();
  for (const part of cluster.parts) {
    await part.restart();
    const again = performance.now();
    const slowest = Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(again)))));
    t.diagnostic(`${part.name}: everybody heard something ${slowest.toFixed(0)} ms after it was back`);
  }
  const took = performance.now() - begin;
  rolling = false;
  await writing;
  for (const room_id of acknowledged) assert.equal((await writer.get(`/api/v1/rooms/${room_id}`)).status, 200, room_id);
  const syncs = gatherings.flatMap((gathering) => gathering.syncs);
  report(t, 'rolling restart of all seven processes',
    `those on a gateway that ends reconnect; ${syncs.filter(({ error }) => error).length} of ${syncs.length} updates and ${refused.length} of ${refused.length + acknowledged.length} new rooms \`UNAVAILABLE\``, took);
  await allIsWell(gatherings, urls);
  leave(gatherings);
});

story('an account, a friendship and a room are where they were after everything was restarted', async () => {
  const [ann] = cast;
  const room = await createRoom(ann);
  await Promise.all(cluster.parts.map((part) => part.stop()));
  await Promise.all(cluster.parts.map((part) => part.start()));
  await eventually(async () => (await fetch(`${cluster.url}/readyz`)).ok, 'the balancer has found them');
  const back = await login(ann);
  assert.equal((await back.get(`/api/v1/rooms/${room.room_id}`)).body.host_id, ann.user_id);
});
