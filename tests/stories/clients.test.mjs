// Other people's Socket.IO clients, as bots have them: python-socketio and rust_socketio, over each transport and from the
// one to the other. And the reference client behind something that cuts WebSockets.

import assert from 'node:assert/strict';
import { cast, connect, createRoom } from '../support/api.mjs';
import { Bot } from '../support/bot.mjs';
import { isAccepted, isRefused } from '../support/expect.mjs';
import { openMiddlebox } from '../support/middlebox.mjs';
import { enter, playing, SONG } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';
import { Wire } from '../support/wire.mjs';

// A poll that is not under way when its line is cut is only missed after the timeout.
const tutti = await serve({ env: { ...unlimited, PRESENCE_GRACE: '1s', SOCKET_PING_TIMEOUT: '4s' } });
const PINGS = 40;

for (const library of /** @type {const} */ (['python-socketio', 'rust_socketio'])) {
  stories(library, () => {
    for (const transports of ['polling', 'websocket', 'polling,websocket']) {
      story(`a bot listens, asks and comes back, over ${transports}`, async () => {
        const [ann, ben] = await cast(tutti.url, 'ann', 'ben');
        const room = await createRoom(ann);
        const host = await enter(ann, room);
        // The line that is cut later.
        const wire = await Wire.open(Number(new URL(tutti.url).port));
        const bot = new Bot(library, `http://127.0.0.1:${wire.port}`, transports, ben.token);
        try {
          assert.equal((await bot.next('connected')).user_id, ben.user_id);
          isAccepted(await bot.call('join_room', { room_id: room.room_id }));
          assert.equal((await bot.next('room_joined')).room_id, room.room_id);
          assert.equal((await host.next('user_joined')).user_id, ben.user_id);
          isRefused(await bot.call('sync_state', { playback_state: playing() }), 'UPDATE_FAILED');
          isAccepted(await host.emit('sync_state', { playback_state: playing(), current_song: SONG }));
          assert.equal((await bot.next('state_synced')).current_song.title, SONG.title);

          // More at once than python-engineio takes in one answer.
          bot.ping(PINGS);
          const pongs = [];
          while (pongs.length < PINGS) pongs.push((await bot.next('pong')).client_time_ms);
          // Python runs what hears them side by side.
          assert.deepEqual(pongs.sort((a, b) => a - b), Array.from({ length: PINGS }, (_, number) => number));
          assert.equal(bot.log.filter(([event]) => event === 'connected').length, 1, 'it was never lost');

          await wire.cut();
          // Until then: one that polls may not have a request under way.
          await bot.next('*disconnect');
          await wire.mend();
          assert.equal((await bot.next('connected')).user_id, ben.user_id);
          isAccepted(await bot.call('join_room', { room_id: room.room_id }));
          await bot.end();
          assert.equal((await host.next('user_left')).user_id, ben.user_id);
        } finally {
          bot.child.kill();
          await wire.close();
        }
      });
    }
  });
}

stories('socket.io-client', () => {
  story('where WebSockets are cut it stays with long-polling', async () => {
    const middlebox = await openMiddlebox(Number(new URL(tutti.url).port));
    try {
      const [ann] = await cast(tutti.url, 'ann');
      let upgrades = 0;
      ann.url = middlebox.url;
      const connection = await connect(ann, {
        transports: ['polling', 'websocket'],
        first: ({ socket }) => socket.io.once('open', () => socket.io.engine.once('upgradeError', () => (upgrades += 1))),
      });
      // Until the probe has died, and a while longer.
      while (upgrades === 0) isAccepted(await connection.emit('ping', {}));
      for (let ping = 0; ping < 20; ping++) isAccepted(await connection.emit('ping', {}));
      assert.equal(middlebox.cuts, 1);
      assert.equal(connection.socket.connected, true);
      assert.equal(connection.socket.io.engine.transport.name, 'polling');
      assert.equal(connection.log.filter(({ event }) => event === 'connected').length, 1);
      connection.close();
    } finally {
      middlebox.close();
    }
  });
});
