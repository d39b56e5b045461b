// Links between parts that break: cut, dead, slow; and what Redis publishes lost, doubled and out of order.

import assert from 'node:assert/strict';
import { story } from '../support/story.mjs';
import { connect, createRoom, eventually } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { OUTAGE_MS, allIsWell, gather, leave, playing, report, stage, users } from './stage.mjs';

/** @typedef {import('../support/wire.mjs').Wire} Wire */

const cluster = await stage({ wired: true });
const cast = await users(cluster.url, 15);
const urls = cluster.gateways.map(({ url }) => url);
const wires = (/** @type {string[]} */ to, /** @type {string[]} */ from) => from.flatMap((name) => to.map((other) => cluster.wire(name, other)));
const gateways = cluster.gateways.map(({ name }) => name);
const rooms = cluster.rooms.map(({ name }) => name);

/** Three rooms of five; in each, somebody listens on every gateway, whichever has the fault. */
async function playingRooms() {
  const gatherings = [];
  for (let place = 0; place < 3; place++) {
    const gathering = await gather(cast.slice(5 * place, 5 * place + 5), {
      // The host of each room is on another one.
      urls: [0, 1, 2, 0, 1].map((gateway) => urls[(gateway + place) % 3]),
    });
    gatherings.push(gathering);
  }
  return playing(gatherings);
}

/** @param {import('./people.mjs').Gathering[]} gatherings @param {number} since */
const slowest = async (gatherings, since) =>
  Math.max(...(await Promise.all(gatherings.map((gathering) => gathering.recovered(since)))));

/**
 * Breaks links for a while, and measures how long everybody waits for the music once they are whole.
 * @param {string} name
 * @param {Wire[]} links
 * @param {(link: Wire) => unknown} breaking
 */
function breakStory(name, links, breaking) {
  story(name, async (t) => {
    t.after(() => Promise.all(links.map((link) => link.mend())));
    const gatherings = await playingRooms();
    for (const link of links) await breaking(link);
    // This is the fault itself, not a wait for something.
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
    const syncs = gatherings.flatMap((gathering) => gathering.syncs);
    const refused = syncs.filter(({ error }) => error).length;
    const since = performance.now();
    await Promise.all(links.map((link) => link.mend()));
    const ms = await slowest(gatherings, since);
    report(t, `${name}, for ${OUTAGE_MS / 1000} s`, `${refused} of ${syncs.length} updates of hosts \`UNAVAILABLE\``, ms);
    assert.ok(ms <= 5000, `${ms} ms`);
    await allIsWell(gatherings, urls);
    leave(gatherings);
  });
}

for (const [what, breaking] of /** @type {[string, (link: Wire) => unknown][]} */ ([
  ['cut', (link) => link.cut()],
  ['dead', (link) => link.goDead()],
])) {
  breakStory(`a gateway's link to Redis ${what}`, wires(['redis'], ['gateway-1']), breaking);
  breakStory(`a gateway's link to one room process ${what}`, wires(['room-1'], ['gateway-1']), breaking);
  breakStory(`a room process's link to Redis ${what}`, wires(['redis'], ['room-1']), breaking);
}

story('everything between the parts takes 100 ms longer', async (t) => {
  const links = [...wires(['redis', ...rooms], gateways), ...wires(['redis'], rooms)];
  t.after(() => Promise.all(links.map((link) => link.mend())));
  const gatherings = await playingRooms();
  for (const link of links) link.delay(100);
  const ms = await slowest(gatherings, performance.now());
  await Promise.all(links.map((link) => link.mend()));
  report(t, 'every link 100 ms slower', 'an update arrives later', ms);
  await allIsWell(gatherings, urls);
  leave(gatherings);
});

/** @type {[string, () => import('../support/wire.mjs').Meddle][]} */
const meddling = [
  ['lost (every third)', () => {
    let count = 0;
    return (message) => (++count % 3 === 0 ? [] : [message]);
  }],
  ['doubled', () => (message) => [message, message]],
  ['out of order', () => {
    /** @type {Buffer | undefined} */
    let kept;
    return (message) => {
      if (!kept) {
        kept = Buffer.from(message);
        return [];
      }
      const both = [message, kept];
      kept = undefined;
      return both;
    };
  }],
];

for (const [what, meddle] of meddling) {
  story(`what Redis publishes is ${what}`, async (t) => {
    const links = wires(['redis'], [...gateways, ...rooms]);
    t.after(() => Promise.all(links.map((link) => link.mend())));
    const gatherings = await playingRooms();
    let meddled = 0;
    for (const link of links) {
      const change = meddle();
      link.meddle((message) => ((meddled += 1), change(message)));
    }
    const since = performance.now();
    const worst = await slowest(gatherings, since);
    // Some come and go meanwhile: what is lost must not be lost for good.
    for (const { members, room } of gatherings) {
      const guest = /** @type {import('./people.mjs').Person} */ (members.at(-1));
      await guest.client.leaveRoom();
      await guest.client.joinRoom(room.room_id);
    }
    await Promise.all(gatherings.map(({ members }) => members[0].settle()));
    assert.ok(meddled > 20, `${meddled} messages came by`);
    // That the very last message was lost is noticed with the next one.
    await Promise.all(links.map((link) => link.mend()));
    await Promise.all(gatherings.map(({ members: [host] }) => host.sync(1 + (host.syncs.at(-1)?.position ?? 0))));
    await Promise.all(gatherings.map((gathering) => gathering.agreed()));
    for (const gathering of gatherings) {
      await gathering.whole(urls);
      await gathering.check(urls);
    }
    report(t, `pub/sub messages ${what}`, 'nothing', worst);
    for (const { members } of gatherings) for (const person of members) person.leave();
  });
}

story('a gateway believes in a subscription that is not there', async (t) => {
  const [ann, ben, cat] = cast;
  const wire = cluster.wire('gateway-1', 'redis');
  t.after(() => wire.mend());
  const room = await createRoom(ann);
  const channel = `tutti:{${room.room_id}}:events`;
  // Redis understands another name, and confirms it: the gateway notices nothing.
  wire.mishear(channel, channel.replace(':events', ':nobody'));
  const [deaf, hearing, host] = await Promise.all([[ben, urls[0]], [cat, urls[1]], [ann, urls[2]]].map(async ([user, url]) => {
    const connection = await connect(Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url }));
    isAccepted(await connection.emit('join_room', { room_id: room.room_id }));
    await connection.next('room_joined');
    return connection;
  }));
  assert.ok(!wire.isMishearing, 'the subscription went to another channel');
  const [redis] = cluster.redis.servers;
  const subscribers = async () => Number(/:(\d+)/.exec(String(await redis.ask('PUBSUB', 'NUMSUB', channel)))?.[1]);
  assert.equal(await subscribers(), 2, 'one of three gateways is deaf');
  const since = performance.now();
  const { version } = await host.emit('sync_state', { playback_state: { playing: false, position: 7 } });
  await hearing.next('state_synced', (/** @type {any} */ state) => state.version === version);
  // Nothing else happens: what tells of it is the next renewal of the lease.
  await deaf.next('state_synced', (/** @type {any} */ state) => state.version === version, 10_000);
  const ms = performance.now() - since;
  await eventually(async () => (await subscribers()) === 3, 'the subscription is there');
  // What comes from now on arrives at once.
  const { version: next } = await host.emit('sync_state', { playback_state: { playing: false, position: 8 } });
  await deaf.next('state_synced', (/** @type {any} */ state) => state.version === next);
  assert.match(await cluster.gateways[0].metrics(), /tutti_gateway_feeds_broken_total\{reason="deaf"\} 1/);
  report(t, 'a subscription of a gateway is not there, and nobody says so', 'an update arrives late', ms);
  for (const connection of [deaf, hearing, host]) connection.close();
});
