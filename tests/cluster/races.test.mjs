// What happens at the same moment on several gateways, and what one process does to connections of another.

import assert from 'node:assert/strict';
import { befriend, connect, createFriendsRoom, createRoom, eventually, login } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { lockRoom } from './engines.mjs';
import { report, stage, users } from './stage.mjs';

/** @typedef {import('../support/api.mjs').User} User */

const cluster = await stage();
const cast = await users(cluster.url, 10);
const urls = cluster.gateways.map(({ url }) => url);

/** The same user, whose calls go to one gateway. @param {User} user @param {number} gateway @returns {User} */
const at = (user, gateway) => Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url: urls[gateway % 3] });

/** Connected to one gateway and in the room. @param {User} user @param {{room_id: string}} room @param {number} gateway */
async function enter(user, { room_id }, gateway) {
  const connection = await connect(at(user, gateway));
  isAccepted(await connection.emit('join_room', { room_id }));
  await connection.next('room_joined');
  return connection;
}

story('two sockets of a host at once: each state has a version of its own, and everybody ends with the highest', async () => {
  const [ann, ben, cat] = cast;
  const room = await createRoom(ann);
  const hosts = [await enter(ann, room, 0), await enter(ann, room, 1)];
  const listeners = [await enter(ben, room, 1), await enter(cat, room, 2)];
  const ROUNDS = 100;
  /** @type {Map<number, number>} */
  const accepted = new Map();
  await Promise.all(hosts.map(async (connection, device) => {
    for (let round = 0; round < ROUNDS; round++) {
      const position = 2 * round + device;
      const ack = await connection.emit('sync_state', { playback_state: { playing: true, position } });
      isAccepted(ack);
      assert.ok(!accepted.has(ack.version), `version ${ack.version} twice`);
      accepted.set(ack.version, position);
    }
  }));
  const highest = Math.max(...accepted.keys());
  for (const connection of [...listeners, ...hosts]) {
    const own = hosts.indexOf(connection);
    // A host is not told what it sent itself.
    const expected = own < 0 ? highest : Math.max(...[...accepted].filter(([, position]) => position % 2 !== own).map(([version]) => version));
    await eventually(() => connection.log.some(({ event, payload }) => event === 'state_synced' && payload.version === expected), 'the last state arrives');
    let before = 0;
    for (const { event, payload } of connection.log) {
      if (event !== 'state_synced') continue;
      assert.equal(payload.playback_state.position, accepted.get(payload.version));
      assert.ok(payload.version > before, `${payload.version} after ${before}`);
      before = payload.version;
    }
  }
  for (let gateway = 0; gateway < 3; gateway++) {
    const answer = await at(ann, gateway).get(`/api/v1/rooms/${room.room_id}`);
    assert.equal(answer.body.version, highest);
    assert.equal(answer.body.playback_state.position, accepted.get(highest));
  }
});

story('host and heir leave together, 200 times: there is one host, who is there', async (t) => {
  const trio = cast.slice(0, 3);
  const [observer] = cast.slice(3);
  const room = await createRoom(trio[0]);
  const path = `/api/v1/rooms/${room.room_id}`;
  /** @type {Map<string, import('../support/api.mjs').Connection>} */
  const connections = new Map();
  for (const [place, user] of trio.entries()) connections.set(user.user_id, await enter(user, room, place));
  const of = (/** @type {User} */ user) => /** @type {import('../support/api.mjs').Connection} */ (connections.get(user.user_id));
  /** Who has been there longest comes first. */
  let order = [...trio];
  const watcher = at(observer, 2);
  const ways = [
    (/** @type {User} */ user) => of(user).emit('leave_room_socket', { room_id: room.room_id }),
    (/** @type {User} */ user) => at(user, order.indexOf(user)).post(`${path}/leave`),
  ];
  const begin = performance.now();
  for (let round = 0; round < 200; round++) {
    const [host, heir, third] = order;
    // By socket, by REST, and one each way.
    await Promise.all([ways[round & 1](host), ways[(round >> 1) & 1](heir)]);
    const { host_id, participants } = (await watcher.get(path)).body;
    assert.deepEqual({ round, host_id, participants }, { round, host_id: third.user_id, participants: [third.user_id] });
    for (const user of [host, heir]) {
      isAccepted(await of(user).emit('join_room', { room_id: room.room_id }));
      // What they heard before is of no interest any more.
      of(user).inbox.length = 0;
    }
    order = [third, host, heir];
  }
  report(t, 'host and heir leave together, 200 times', 'the third is host each time', (performance.now() - begin) / 200);
  for (const user of trio) {
    /** @type {Set<string>} */
    let there = new Set();
    let host = '';
    for (const { event, payload } of of(user).log) {
      if (event === 'room_joined') {
        there = new Set(payload.room_state.participants);
        host = payload.room_state.host_id;
      } else if (event === 'room_left') there = new Set();
      else if (event === 'user_joined') {
        assert.ok(!there.has(payload.user_id), 'whom one sees come was away');
        there.add(payload.user_id);
      } else if (event === 'user_left') {
        assert.ok(there.delete(payload.user_id), 'whom one sees go was there');
      } else if (event === 'host_changed') {
        assert.equal(payload.previous_host_id, host, 'each change begins where the last one ended');
        host = payload.host_id;
      }
    }
  }
}, 180_000);

story('who moves to another room while leaving the first is slow is in the other one, and stays there', async (t) => {
  const [ann, ben, cat] = cast;
  const [first, second] = [await createRoom(ann), await createRoom(cat)];
  const [host, guest, other] = [await enter(ann, first, 0), await enter(ben, first, 1), await enter(cat, second, 2)];
  await host.next('user_joined');
  const lock = await lockRoom(cluster.databaseUrl, first.room_id, 2.6);
  const since = performance.now();
  isAccepted(await guest.emit('join_room', { room_id: second.room_id }));
  const ms = performance.now() - since;
  assert.equal((await guest.next('room_left')).reason, 'moved');
  assert.equal((await guest.next('room_joined')).room_id, second.room_id);
  // From now on it hears the second room and not the first, whatever the first one knows.
  const state = (/** @type {number} */ position) => ({ playback_state: { playing: false, position } });
  isAccepted(await other.emit('sync_state', state(2)));
  await guest.next('state_synced', ({ room_id }) => room_id === second.room_id);
  await lock.ended;
  await host.next('user_left', ({ user_id }) => user_id === ben.user_id, 30_000);
  isAccepted(await host.emit('sync_state', state(1)));
  isAccepted(await other.emit('sync_state', state(3)));
  await guest.next('state_synced', ({ playback_state }) => playback_state.position === 3);
  assert.deepEqual(guest.log.filter(({ event, payload }) => event === 'state_synced' && payload.room_id === first.room_id), []);
  // What is late has taken nothing away.
  const ack = await guest.emit('request_sync', {});
  isAccepted(ack);
  assert.equal(ack.room_id, second.room_id);
  report(t, 'moving to another room while a row of the first is locked for 2.6 s', 'nothing', ms);
  for (const connection of [host, guest, other]) connection.close();
});

story('a session that ends on one gateway closes its sockets on all', async (t) => {
  const user = await login(cast[4]);
  const other = await login(cast[4]);
  const sockets = await Promise.all([0, 1, 2].map((gateway) => connect(at(user, gateway))));
  const kept = await connect(at(other, 1));
  for (const gateway of [0, 1]) {
    // Whichever of the two auth processes is asked.
    const session = gateway === 0 ? user : other;
    const waiting = gateway === 0 ? sockets : [kept];
    const since = performance.now();
    const answer = await at(session, gateway).post('/api/v1/auth/logout', { refresh_token: session.refresh_token });
    assert.equal(answer.status, 204, answer.text);
    await eventually(() => waiting.every(({ socket }) => !socket.connected), 'the sockets are closed', { within: 5000 });
    const ms = performance.now() - since;
    if (gateway === 0) {
      report(t, 'a session is ended on another gateway', 'its sockets are closed', ms);
      assert.ok(kept.socket.connected, 'the other session goes on');
    }
    assert.ok(ms <= 2000, `${ms} ms`);
  }
});

story('who is unfriended on one gateway is taken out of the room on another', async (t) => {
  const [host, friend] = cast.slice(6, 8);
  let slowest = 0;
  // Each of the processes is asked at some time.
  for (let round = 0; round < 6; round++) {
    await befriend(at(host, round), at(friend, round + 1));
    const room = await createFriendsRoom(at(host, round));
    const there = await enter(friend, room, round + 2);
    const since = performance.now();
    assert.equal((await at(host, round).delete(`/api/v1/friends/${friend.user_id}`)).status, 204);
    const left = await there.next('room_left');
    slowest = Math.max(slowest, performance.now() - since);
    assert.equal(left.reason, 'access_revoked');
    there.close();
  }
  report(t, 'a friendship is ended on another gateway', '`room_left` with `access_revoked`', slowest);
  assert.ok(slowest <= 2000, `${slowest} ms`);
});
