// A Redis Cluster of three nodes: rooms are spread over them, and what happens to one node concerns its rooms alone.

import assert from 'node:assert/strict';
import { createRoom, eventually } from '../support/api.mjs';
import { story } from '../support/story.mjs';
import { Gathering, Person } from './people.mjs';
import { OUTAGE_MS, allIsWell, leave, playing, report, stage, users } from './stage.mjs';

const cluster = await stage({ redis: 'cluster' });
const cast = await users(cluster.url, 12);
const urls = cluster.gateways.map(({ url }) => url);
const nodes = cluster.redis.servers;

/** The node that holds a room. @param {string} room_id */
async function nodeOf(room_id) {
  const slot = Number((await nodes[0].ask('CLUSTER', 'KEYSLOT', `tutti:{${room_id}}:room`)).slice(1));
  return slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2;
}

/** A room on each node, four people in each. */
async function playingRooms() {
  /** @type {Gathering[]} */
  const gatherings = [];
  for (let node = 0; node < 3; node++) {
    const members = cast.slice(4 * node, 4 * node + 4);
    let room = await createRoom(members[0]);
    while ((await nodeOf(room.room_id)) !== node) room = await createRoom(members[0]);
    const people = [];
    for (const [place, user] of members.entries()) {
      people.push(await new Person(user, { transports: ['websocket'], url: urls[place % 3] }).enter(room));
    }
    gatherings.push(new Gathering(room, people));
  }
  return playing(gatherings);
}

story('rooms are on all nodes, and each keeps its keys in one slot', async () => {
  const gatherings = await playingRooms();
  for (const [place, { room_id }] of gatherings.entries()) {
    for (const [other, node] of nodes.entries()) {
      const keys = Number((await node.ask('EVAL', `return #redis.call('KEYS', '*{${room_id}}*')`, '0')).slice(1));
      assert.equal(keys > 0, other === place, `${room_id} on node ${other}: ${keys} keys`);
    }
  }
  await allIsWell(gatherings, urls, { socketsStay: true });
  leave(gatherings);
});

story('a node that is emptied', async (t) => {
  const gatherings = await playingRooms();
  const since = performance.now();
  assert.equal(await nodes[1].ask('FLUSHALL'), '+OK');
  const ms = Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(since)))));
  report(t, 'Redis Cluster: `FLUSHALL` on one of three nodes', 'nothing', ms);
  assert.ok(ms <= 3000, `${ms} ms`);
  await allIsWell(gatherings, urls, { socketsStay: true });
  leave(gatherings);
});

story('a node that is killed, and comes back empty', async (t) => {
  t.after(async () => void (nodes[2].server.running || (await nodes[2].start())));
  const gatherings = await playingRooms();
  await nodes[2].kill();
  // This is the fault itself, not a wait for something.
  await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
  const since = performance.now();
  await nodes[2].start();
  await eventually(async () => (await nodes[2].ask('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'the node is one of them again');
  const up = performance.now();
  const ms = Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(up)))));
  const syncs = gatherings.flatMap((gathering) => gathering.syncs);
  report(t, `Redis Cluster: a node killed, and back empty after ${OUTAGE_MS / 1000} s`,
    `the music stays as it is; ${syncs.filter(({ error }) => error).length} of ${syncs.length} updates of hosts \`UNAVAILABLE\`; Redis took ${((up - since) / 1000).toFixed(1)} s of it`, up + ms - since);
  assert.ok(ms <= 5000, `${ms} ms`);
  await allIsWell(gatherings, urls, { socketsStay: true });
  leave(gatherings);
});
