// Clients that mean no good, or are broken: what they do costs a bounded amount, and the others notice nothing.

import assert from 'node:assert/strict';
import { cast, createRoom, eventually } from '../support/api.mjs';
import { isAccepted } from '../support/expect.mjs';
import { PolledSession } from '../support/polling.mjs';
import { frame, PING, RawWebSocket } from '../support/raw-websocket.mjs';
import { enter, playing } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

const tutti = await serve({ env: { ...unlimited, SOCKET_CONNECT_TIMEOUT: '60s' } });
const hasty = await serve({ env: { ...unlimited, SOCKET_PING_TIMEOUT: '2s', PRESENCE_GRACE: '1s' } });

/** The numbers of states among packets, by their positions. @param {string[]} packets */
const positions = (packets) =>
  packets
    .filter((packet) => packet.startsWith('42["state_synced"'))
    .map((packet) => JSON.parse(packet.slice(2))[1].playback_state.position);

stories('tiny frames', () => {
  story('who sends thousands of them is made to wait and then closed, and nobody else waits', async () => {
    const [ann] = await cast(tutti.url, 'ann');
    const { room_id } = await createRoom(ann);
    const connection = await enter(ann, { room_id });
    const flood = Buffer.concat(Array.from({ length: 2_000 }, () => frame(PING)));
    const offenders = await Promise.all([RawWebSocket.open(tutti.url), RawWebSocket.open(tutti.url)]);
    const answered = [0, 0];
    const ends = offenders.map(async ({ socket: offender }, index) => {
      offender.on('data', (data) => (answered[index] += data.length / 2));
      offender.on('end', () => offender.destroy());
      const closed = new Promise((resolve) => offender.once('close', resolve));
      while (!offender.destroyed) {
        if (!offender.write(flood)) {
          await Promise.race([new Promise((resolve) => offender.once('drain', resolve)), closed]);
        }
      }
    });
    const ended = Promise.all(ends).then(() => 'closed');
    let pings = 0;
    while ((await Promise.race([ended, connection.emit('ping', {})])) !== 'closed') pings += 1;
    assert.ok(pings > 10, 'the others go on meanwhile');
    for (const count of answered) assert.ok(count < 4_000, `${count} answers`);
    isAccepted(await connection.emit('request_sync', {}));
  });
});

stories('sessions that nobody polls', () => {
  story('only the newest state waits for who comes back late', async () => {
    const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const host = await enter(ann, room);
    const session = await PolledSession.of(ben);
    await session.emit('join_room', { room_id: room.room_id });
    let seen = '';
    while (!seen.includes('"room_joined"')) seen = (await session.poll()).packets.join(' ');
    for (let position = 0; position < 30; position++) {
      isAccepted(await host.emit('sync_state', { playback_state: playing({ position }) }));
    }
    // Behind the last one, so that all are known to have come.
    await ben.post(`/api/v1/rooms/${room.room_id}/leave`);
    const packets = [];
    while (!packets.join(' ').includes('"room_left"')) packets.push(...(await session.poll()).packets);
    assert.deepEqual(positions(packets), [29]);
  });

  story('they end, and take the seat with them', async () => {
    const [ann, ben] = await cast(hasty.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const host = await enter(ann, room);
    const session = await PolledSession.of(ben);
    await session.emit('join_room', { room_id: room.room_id });
    await host.next('user_joined');
    // The client says all the time that it is there, but never hears whether it was asked.
    const talking = setInterval(() => void session.say('3'), 200);
    await host.next('user_left');
    await eventually(async () => (await session.say('3')).status === 400, 'the session is over');
    clearInterval(talking);
    assert.equal((await session.poll()).status, 400);
  });
});
