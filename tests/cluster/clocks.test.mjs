// Machines whose clocks are wrong: one gateway's is 3 s behind and one room process's 3 s ahead. All parts go by the
// clock of Redis all the same, which on this machine is the test's.

import assert from 'node:assert/strict';
import { connect, createRoom, eventually, login } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { aheadMs, CLOSE_MS, saidOffsetMs, wrongClock } from '../support/wall-clock.mjs';
import { Gathering, Person } from './people.mjs';
import { allIsWell, leave, playing, stage, users } from './stage.mjs';

/** @typedef {import('./cluster.mjs').Part} Part */

/** Starts it again on a machine whose clock is wrong. @param {Part} part @param {string} by as in `+3s` */
async function setClockWrong(part, by) {
  await part.stop();
  await part.start(wrongClock(by));
}

/** What a part says of its machine's clock. @param {Part} part */
async function offsetMs(part) {
  return saidOffsetMs(await part.metrics()) ?? assert.fail(`${part.name} says nothing of its clock`);
}

/** @param {number} value @param {number} expected @param {string} what */
function isClose(value, expected, what) {
  assert.ok(Math.abs(value - expected) <= CLOSE_MS, `${what}: ${value} ms, not ${expected}`);
}

const cluster = await stage();
const [slow, right] = cluster.gateways;
const [fast] = cluster.rooms;
await Promise.all([setClockWrong(slow, '-3s'), setClockWrong(fast, '+3s')]);
const cast = await users(cluster.url, 4);

/** Somebody's own connection to one gateway. @param {number} place @param {Part} part */
async function connectTo(place, part) {
  const user = await login(cast[place]);
  user.url = part.url;
  return connect(user);
}

story('all gateways tell the same time, whatever their machines say', async (t) => {
  isClose(await offsetMs(slow), 3000, 'what the gateway adds to a clock that is behind');
  isClose(await offsetMs(fast), -3000, 'what the room process adds to a clock that is ahead');
  for (const part of [right, cluster.rooms[1], ...cluster.auths]) isClose(await offsetMs(part), 0, part.name);

  const connections = await Promise.all([connectTo(0, slow), connectTo(1, right)]);
  const [one, other] = [await aheadMs(connections[0]), await aheadMs(connections[1])];
  t.diagnostic(`the gateways are ${one.toFixed(2)} and ${other.toFixed(2)} ms ahead of the test`);
  isClose(one, 0, 'the gateway with a wrong clock');
  isClose(one - other, 0, 'between the gateways');
  for (const connection of connections) connection.close();
});

story('a room that plays through a gateway with a wrong clock is heard at the right time through another', async () => {
  const [host, guest] = await Promise.all([connectTo(0, slow), connectTo(1, right)]);
  const room = await createRoom(cast[0]);
  for (const connection of [host, guest]) {
    isAccepted(await connection.emit('join_room', { room_id: room.room_id }));
  }
  // Any room process answers: some of these are answered by the one whose clock is wrong.
  for (let position = 1; position <= 20; position++) {
    const sent = Date.now();
    // Every other time the host leaves it to the server to say when that was.
    const timestamp_ms = position % 2 === 0 ? sent : undefined;
    isAccepted(await host.emit('sync_state', { playback_state: { playing: true, position, timestamp_ms } }));
    const heard = await guest.next('state_synced', ({ playback_state }) => playback_state.position === position);
    isClose(heard.playback_state.timestamp_ms, sent, `the moment of position ${position}`);
  }
  for (const connection of [host, guest]) connection.close();
});

story('people are together although the machines of their gateway and of their room are six seconds apart', async () => {
  const room = await createRoom(cast[0]);
  const urls = cluster.gateways.map(({ url }) => url);
  const members = [];
  for (const [place, user] of cast.entries()) members.push(await new Person(user, { url: urls[place % urls.length] }).enter(room));
  const gathering = new Gathering(room, members);
  await playing([gathering]);
  await eventually(() => gathering.syncs.length >= 30, 'the host has played a while');
  await allIsWell([gathering], urls, { socketsStay: true });
  const refused = gathering.syncs.filter(({ error }) => error);
  assert.deepEqual(refused, []);
  for (const { client, name } of members) {
    isClose(client.serverNow() - Date.now(), 0, `the time that ${name} goes by`);
  }
  leave([gathering]);
});
