// Gateways that die and gateways that go: who listens moves to another one.

import assert from 'node:assert/strict';
import { connect, createRoom, eventually } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { Gathering, Person } from './people.mjs';
import { gather, report, stage, users } from './stage.mjs';

const cluster = await stage();
const cast = await users(cluster.url, 26);
const urls = cluster.gateways.map(({ url }) => url);

/** @param {import('./people.mjs').Person} person @param {number} since */
const moved = (person, since) => person.heard.some(({ at, event }) => event === '(down)' && at >= since);

story('a gateway that is killed loses nobody who comes back, and those who do not once', async (t) => {
  t.after(() => cluster.repair());
  const [lostHost, heir, third, lostGuest, ...rest] = cast;
  const gatherings = [];
  for (let place = 0; place < 3; place++) {
    // Two rooms over WebSocket, one over long-polling.
    gatherings.push(await gather(rest.slice(7 * place, 7 * place + 7), { transports: [place < 2 ? 'websocket' : 'polling'] }));
  }

  // Two who will not come back: they are on the gateway that dies, and do not try again. One of them hosts a room.
  const [doomed, ...others] = cluster.gateways;
  const room = await createRoom(lostHost);
  /** @type {import('../support/api.mjs').Connection[]} */
  const gone = [];
  const perish = async (/** @type {import('../support/api.mjs').User} */ user) => {
    const connection = await connect(Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url: doomed.url }));
    isAccepted(await connection.emit('join_room', { room_id: room.room_id }));
    gone.push(connection);
  };
  await perish(lostHost);
  const witnesses = new Gathering(room, []);
  for (const [place, user] of [heir, third].entries()) {
    witnesses.members.push(await new Person(user, { url: others[place].url, transports: ['websocket'] }).enter(room));
  }
  // The last to come: the heir is somebody who lives.
  await perish(lostGuest);
  for (const { members } of gatherings) members[0].play();
  await Promise.all(gatherings.map((gathering) => gathering.recovered(performance.now())));

  const since = performance.now();
  await doomed.kill();
  const times = await Promise.all(gatherings.map((gathering) => gathering.recovered(since)));
  const everybody = gatherings.flatMap(({ members }) => members);
  const concerned = everybody.filter((person) => moved(person, since));
  assert.ok(concerned.length >= 3, 'some of them were on that gateway');
  const slowest = Math.max(...times);
  assert.ok(slowest <= 5000, `${slowest} ms`);
  report(t, '`kill -9` of a gateway', `${concerned.length} of ${everybody.length} reconnect to another one and hold the current state`, slowest);

  for (const { heard } of witnesses.members) {
    const seen = (/** @type {string} */ event, /** @type {string} */ user_id) =>
      heard.filter((arrival) => arrival.event === event && (arrival.payload.user_id ?? arrival.payload.previous_host_id) === user_id);
    await eventually(() => seen('user_left', lostHost.user_id).length > 0 && seen('user_left', lostGuest.user_id).length > 0,
      'those who do not come back are missed', { within: 30_000 });
  }
  report(t, 'the same, for those who do not come back', '`user_left` once, `host_changed` once', performance.now() - since);
  const changes = witnesses.members.map(({ heard }) => heard.filter(({ event }) => event === 'host_changed').map(({ payload }) => payload));
  for (const [change, ...more] of changes) {
    assert.deepEqual(more, [], 'the host is succeeded once');
    assert.equal(change.reason, 'disconnected');
  }
  witnesses.members[0].play();
  await witnesses.recovered(performance.now());
  await witnesses.members[0].settle();
  for (const person of witnesses.members) {
    for (const user of [lostHost, lostGuest]) assert.equal(person.times('user_left', ({ user_id }) => user_id === user.user_id), 1);
  }
  await witnesses.agreed();
  await witnesses.check(others.map(({ url }) => url));

  for (const gathering of gatherings) {
    await gathering.members[0].settle();
    await gathering.agreed();
    await gathering.check(others.map(({ url }) => url));
    for (const person of gathering.members) {
      // Before the fault, they saw the others come; nobody has gone.
      assert.equal(person.times('user_left'), 0, 'who comes back was never gone');
      assert.equal(person.times('host_changed'), 0);
      const after = person.heard.filter(({ at, event }) => at >= since && event === 'user_joined');
      assert.deepEqual(after, [], 'and does not come anew');
    }
  }
  for (const person of [...everybody, ...witnesses.members]) person.leave();
  for (const connection of gone) connection.close();
});

story('a gateway that is told to end lets its listeners go, and ends well', async (t) => {
  t.after(() => cluster.repair());
  const gathering = await gather(cast.slice(0, 12));
  const [host] = gathering.members;
  host.play();
  await gathering.recovered(performance.now());
  const since = performance.now();
  const leaving = cluster.gateways[1];
  const ending = leaving.stop();
  await eventually(async () => !(await leaving.ready()), 'it says that it is not for new clients', { within: 1000 });
  const { code, ms } = await ending;
  assert.equal(code, 0);
  assert.ok(ms <= 3000 + 5000, `ended after ${ms} ms`);
  const ended = performance.now();
  await gathering.recovered(ended);
  const concerned = gathering.members.filter((person) => moved(person, since));
  assert.ok(concerned.length >= 2, 'some of them were on that gateway');
  const lettingGo = concerned.map(({ heard }) => /** @type {import('./people.mjs').Arrival} */ (heard.find(({ at, event }) => event === '(down)' && at >= since)).at);
  assert.ok(Math.max(...lettingGo) - Math.min(...lettingGo) >= 50 * (concerned.length - 1), 'not all at once');
  await host.settle();
  await gathering.agreed();
  await gathering.check(urls.filter((_, place) => place !== 1));
  const silence = Math.max(...concerned.map((person) => longestSilence(person, since)));
  report(t, 'SIGTERM to a gateway (`DRAIN_TIME=3s`)', `${concerned.length} of ${gathering.members.length} reconnect to another one; the gateway ended after ${(ms / 1000).toFixed(1)} s`, silence);
  assert.ok(silence <= 5000, `${silence} ms without a state`);
  for (const person of gathering.members) {
    assert.equal(person.times('user_left'), 0);
    assert.equal(person.times('host_changed'), 0);
  }
  for (const person of gathering.members) person.leave();
});

/** How long somebody went without a new state. @param {import('./people.mjs').Person} person @param {number} since */
function longestSilence({ held }, since) {
  let longest = 0;
  let last = since;
  for (const { at } of held.filter((each) => each.at >= since)) {
    longest = Math.max(longest, at - last);
    last = at;
  }
  return longest;
}
