// What listeners measure of their way here and of their own playing, and what the room is told of it.

import assert from 'node:assert/strict';
import { cast } from '../support/api.mjs';
import { isAccepted, isRefused, isTime } from '../support/expect.mjs';
import { scene } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { overBothTransports, serve, story } from '../support/story.mjs';

const { url } = await serve({ env: unlimited });

overBothTransports('measuring', (transport) => {
  story('what listeners report is put together, and everybody in the room is told what follows', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const { room, connections } = await scene(transport, ann, ben);
    const [host, guest] = connections;
    isAccepted(await guest.emit('report', { round_trip_ms: 200, error_ms: 2, player: 'audio', dropouts: 0 }));
    isAccepted(await host.emit('report', { room_id: room.room_id, round_trip_ms: 20, error_ms: null }));
    for (const connection of connections) {
      const timing = await connection.next('room_timing', ({ listeners }) => listeners === 2);
      assert.equal(timing.room_id, room.room_id);
      assert.ok(Math.abs(timing.round_trip_ms - 200) < 20, JSON.stringify(timing));
      assert.ok(Math.abs(timing.lead_ms - 550) < 30, JSON.stringify(timing));
      assert.ok(Math.abs(timing.error_ms - 2) < 0.2, JSON.stringify(timing));
      isTime(timing.timestamp);
    }
  });

  story('a report that cannot be is refused, and so is one from outside of the room', async () => {
    const [ann, ben] = await cast(url, 'ann', 'ben');
    const { connections } = await scene(transport, ann, ben);
    const [host] = connections;
    for (const report of [{}, { round_trip_ms: '5' }, { round_trip_ms: 1, error_ms: 1e9 }]) {
      isRefused(await host.emit('report', report), 'INVALID_REQUEST');
    }
    isRefused(await host.emit('report', { round_trip_ms: 1, room_id: 'room_x' }), 'NOT_IN_ROOM');
  });
});
