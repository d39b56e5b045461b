// The clock of a machine that runs everything is set while music plays, as NTP does it and as people do. Nobody hears
// it, and nobody goes.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after } from 'node:test';
import { cast, closeConnections, createRoom, eventually } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { arrive, enter, SONG } from '../support/scene.mjs';
import { freePort, startTutti, temporaryFolder, unlimited } from '../support/server.mjs';
import { story } from '../support/story.mjs';
import { aheadMs, CLOSE_MS, saidOffsetMs, WallClock } from '../support/wall-clock.mjs';
import { syncPlayback } from '../../static/core/playback.js';

/** @typedef {import('../support/api.mjs').Connection} Connection */

const wall = new WallClock(join(temporaryFolder(), 'clock'));
const adminPort = await freePort();
const tutti = await startTutti({
  // With so little grace a lease that is taken for over is a seat lost at once.
  env: { ...unlimited, ...wall.env, PRESENCE_GRACE: '1s', ADMIN_ADDR: `127.0.0.1:${adminPort}` },
});
after(async () => {
  closeConnections();
  await tutti.stop();
});

/** @returns {Promise<string>} */
const metrics = async () => (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();

/** How often the leases of all connections were renewed. */
async function renewals() {
  const [, count] = /^tutti_rpc_calls_total\{[^}]*RenewConnections[^}]*"OK"\} (\d+)$/m.exec(await metrics()) ?? [];
  return Number(count ?? 0);
}

/** Sets the clock and waits until Tutti has seen that. @param {number} ms */
async function set(ms) {
  wall.set(ms);
  await eventually(async () => {
    const said = saidOffsetMs(await metrics());
    return said !== undefined && Math.abs(said + ms) < CLOSE_MS;
  }, `Tutti says that its machine's clock is ${ms} ms ahead`);
}

/** @param {number} ms @param {string} what */
function isClose(ms, what) {
  assert.ok(Math.abs(ms) <= CLOSE_MS, `${what} is ${ms} ms off`);
}

story('the song, the time and who is there stay as they are, whichever way the clock is set', async (t) => {
  const [ann, ben, cat] = await cast(tutti.url, 'ann', 'ben', 'cat');
  const room = await createRoom(ann);
  const host = await enter(ann, room);
  const guest = await arrive(ben, room, [host]);
  const began = Date.now();
  const played = await host.emit('sync_state', { playback_state: { playing: true, position: 100 }, current_song: SONG });
  isAccepted(played);
  await guest.next('state_synced');

  for (const ms of [10_000, -10_000, -120_000, 45_000]) {
    await set(ms);
    const moved = await aheadMs(guest);
    t.diagnostic(`clock set to ${ms} ms ahead: pongs are ${moved.toFixed(1)} ms ahead`);
    isClose(moved, `the time of a pong, with the clock at ${ms}`);

    // As somebody hears it who comes now.
    const late = await arrive(cat, room, [host, guest]);
    const { room_state } = late.log.find(({ event }) => event === 'room_joined')?.payload ?? assert.fail('nobody joined');
    const now = Date.now();
    const heard = syncPlayback(room_state.playback_state, now + (await aheadMs(late)));
    isClose(1000 * (heard - 100) - (now - began), `the song, with the clock at ${ms}`);
    assert.deepEqual(new Set(room_state.participants), new Set([ann.user_id, ben.user_id, cat.user_id]));
    isAccepted(await late.emit('leave_room_socket', {}));
    for (const connection of [host, guest]) await connection.next('user_left', ({ user_id }) => user_id === cat.user_id);

    // What a host says of its song is still believed.
    const sent = Date.now();
    const ack = await host.emit('sync_state', { playback_state: { playing: true, position: 100 + (sent - began) / 1000, timestamp_ms: sent } });
    isAccepted(ack);
    const { playback_state } = await guest.next('state_synced');
    isClose(playback_state.timestamp_ms - sent, `the moment of a host's word, with the clock at ${ms}`);
    late.close();
  }
  const renewed = await renewals();
  await eventually(async () => (await renewals()) >= renewed + 2, 'the leases were renewed twice');
  for (const { log } of [host, guest]) {
    const others = log.filter(({ payload }) => payload.user_id !== cat.user_id).map(({ event }) => event);
    const moves = others.filter((event) => ['user_left', 'host_changed', 'room_left', 'room_closed'].includes(event));
    assert.deepEqual(moves, [], 'nobody goes');
  }
  assert.deepEqual((await ann.get(`/api/v1/rooms/${room.room_id}`)).body.participants, [ann.user_id, ben.user_id]);
  const said = tutti.stderr().match(/the machine's clock was set[^\n]*/g) ?? [];
  assert.equal(said.length, 4, `each step is logged once:\n${said.join('\n')}`);
});

story('a Tutti that is started after the clock was set begins with the new time and has its rooms', async () => {
  await set(-10_000);
  const [ann] = await cast(tutti.url, 'ann');
  const room = await createRoom(ann);
  const before = await enter(ann, room);
  isAccepted(await before.emit('sync_state', { playback_state: { playing: true, position: 50 } }));
  const { version } = (await ann.get(`/api/v1/rooms/${room.room_id}`)).body;
  closeConnections();
  await tutti.restart();
  const host = await enter(ann, room);
  isClose((await aheadMs(host)) + 10_000, 'the time');
  const ack = await host.emit('sync_state', { playback_state: { playing: true, position: 60 } });
  isAccepted(ack);
  assert.ok(ack.version > version, `${ack.version} is above ${version}`);
});
