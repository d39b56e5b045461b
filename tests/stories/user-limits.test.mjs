// Section 3, over all connections of a user and all users of a room: whoever connects anew begins with what is left.

import assert from 'node:assert/strict';
import { cast, connect, connectError, createRoom, eventually } from '../support/api.mjs';
import { isAccepted, isProblem, isRefused } from '../support/expect.mjs';
import { enter, playing, scene } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { serve, stories, story } from '../support/story.mjs';

/** @typedef {import('../support/api.mjs').User} User */

const CONNECTIONS = 3;

const events = await serve({
  env: {
    ...unlimited,
    // The defaults of what one connection and a room may say.
    RATE_SOCKET_EVENTS_PER_MINUTE: undefined,
    // A multiple of the default, so that a story need not wait long for what was used up.
    RATE_USER_EVENTS_PER_MINUTE: '960',
    RATE_USER_CONNECTS_PER_MINUTE: '0',
    CONNECTIONS_PER_USER: '0',
    RATE_ROOM_RETURNS_PER_MINUTE: '0',
  },
});
const connections = await serve({
  env: { ...unlimited, RATE_USER_CONNECTS_PER_MINUTE: '60', CONNECTIONS_PER_USER: String(CONNECTIONS) },
});

const cluster = process.env.TUTTI_STORIES_ON === 'cluster';
// Each process may give a burst before it hears what the others gave.
const GATEWAYS = cluster ? 3 : 1;
const ROOMS = cluster ? 2 : 1;
const USER_BURST = 80;
const ROOM_BURST = 40;
const CONNECTS_BURST = 30;
const JOINS_BURST = 20;

/**
 * Connects, does something, and goes without a word. @template T
 * @param {User} user
 * @param {(connection: import('../support/api.mjs').Connection) => Promise<T>} work
 */
async function briefly(user, work) {
  const connection = await connect(user);
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}

stories('limits of a user', () => {
  story('connecting again does not refill what a user may say, and their other tab goes on', async () => {
    const [ann, ben] = await cast(events.url, 'ann', 'ben');
    const room = await createRoom(ann);
    const [tab, guest] = [await enter(ann, room), await enter(ben, room)];
    const begin = performance.now();
    let passed = 0;
    let isOver = false;
    const flood = async () => {
      while (!isOver) {
        await briefly(ann, async (connection) => {
          const acks = await Promise.all(Array.from({ length: 20 }, () => connection.emit('request_sync', {})));
          passed += acks.filter((ack) => ack.error.code === 'NOT_IN_ROOM').length;
          for (const ack of acks.filter((each) => each.error.code !== 'NOT_IN_ROOM')) isRefused(ack, 'RATE_LIMITED');
        });
      }
    };
    // What was opened a while ago has a share that new connections cannot take.
    const steady = async () => {
      let inARow = 0;
      const served = async () => {
        inARow = (await tab.emit('request_sync', {})).ok ? inARow + 1 : 0;
        return inARow === 3;
      };
      try {
        await eventually(served, 'the other tab is served three times in a row', { every: 1100, within: 40_000 });
      } finally {
        isOver = true;
      }
    };
    await Promise.all([flood(), flood(), steady()]);
    const seconds = Math.ceil((performance.now() - begin) / 1000);
    assert.ok(passed >= 20, `${passed} passed`);
    assert.ok(passed <= GATEWAYS * USER_BURST + 16 * seconds, `${passed} passed in ${seconds} s`);
    isAccepted(await guest.emit('request_sync', {}));
  });

  story('a room hears no more of its hosts, however often they connect', async () => {
    const [ann, ben] = await cast(events.url, 'ann', 'ben');
    const { room, connections: [, listener] } = await scene('websocket', ann, ben);
    const begin = performance.now();
    let passed = 0;
    let refused = 0;
    for (let i = 0; refused < 40; i++) {
      assert.ok(i < 40, `nothing is refused: ${passed} passed`);
      await briefly(ann, async (connection) => {
        const state = (/** @type {number} */ position) => ({ playback_state: playing({ position }) });
        const acks = await Promise.all([
          connection.emit('join_room', { room_id: room.room_id }),
          ...Array.from({ length: 19 }, (_, position) => connection.emit('sync_state', state(position))),
        ]);
        const [joined, ...syncs] = acks;
        passed += syncs.filter((ack) => ack.ok).length;
        refused += syncs.filter((ack) => !ack.ok).length;
        // What the user may say is used up as well, later: then they do not even get in.
        for (const ack of acks.filter((each) => !each.ok)) {
          if (joined.ok || ack === joined || ack.error.code !== 'NOT_IN_ROOM') isRefused(ack, 'RATE_LIMITED');
        }
      });
    }
    const seconds = Math.ceil((performance.now() - begin) / 1000);
    assert.ok(passed >= ROOM_BURST - 1 && passed <= ROOMS * ROOM_BURST + 2 * seconds, `${passed} in ${seconds} s`);
    isAccepted(await listener.emit('request_sync', {}));
  });

  story('coming and going by REST is limited, and concerns nobody else', async () => {
    const [ann, ben, cat] = await cast(events.url, 'ann', 'ben', 'cat');
    const room = await createRoom(ann);
    const join = (/** @type {User} */ user) => user.post('/api/v1/rooms/join', { room_id: room.room_id });
    let joins = 0;
    let answer = await join(ben);
    for (; answer.status === 200; answer = await join(ben)) {
      joins += 1;
      assert.ok(joins <= 2 * ROOMS * JOINS_BURST, `${joins} joins`);
      assert.equal((await join(ben)).status, 200, 'who is there may say so again');
      assert.equal((await ben.post(`/api/v1/rooms/${room.room_id}/leave`)).status, 204);
    }
    isProblem(answer, 429, 'RATE_LIMITED');
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    assert.ok(joins >= JOINS_BURST, `${joins} joins`);
    assert.equal((await ben.post(`/api/v1/rooms/${room.room_id}/leave`)).status, 204, 'leaving is never refused');
    assert.equal((await join(cat)).status, 200);
  });
});

stories('connections of a user', () => {
  story('one more than allowed is refused in words, the others stay, and one that ends makes room', async () => {
    const [ann, ben] = await cast(connections.url, 'ann', 'ben');
    const open = [];
    for (let i = 0; i < CONNECTIONS; i++) open.push(await connect(ann));
    const error = await connectError(ann);
    assert.equal(error.data?.code, 'RATE_LIMITED', error.message);
    assert.match(error.message, new RegExp(`you have ${CONNECTIONS} connections`));
    for (const connection of open) isAccepted(await connection.emit('ping', {}));
    isAccepted(await (await connect(ben)).emit('ping', {}));
    open[0].close();
    await eventually(async () => {
      const connection = await connect(ann).catch(() => undefined);
      return connection !== undefined;
    }, 'there is a place again', { every: 500 });
    assert.equal((await connectError(ann)).data?.code, 'RATE_LIMITED');
  });

  story('connecting is limited', async () => {
    const [ann, ben] = await cast(connections.url, 'ann', 'ben');
    let connects = 0;
    const begin = performance.now();
    for (let isOver = false; !isOver; ) {
      await briefly(ann, async () => {
        connects += 1;
      }).catch((error) => {
        isOver = /you connect too often/.test(String(error));
      });
      const seconds = Math.ceil((performance.now() - begin) / 1000);
      assert.ok(connects <= GATEWAYS * CONNECTS_BURST + seconds, `${connects} connections`);
    }
    assert.ok(connects >= CONNECTS_BURST / 2, `${connects} connections`);
    isAccepted(await (await connect(ben)).emit('ping', {}));
  });
});
