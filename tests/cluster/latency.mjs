// How long a listener waits from the host's emit to its own event, on the same gateway and on another one:
//
//   node tests/cluster/latency.mjs [ROUNDS]
//
// TUTTI_BIN should name a release build. Everything runs on this machine, the clients too.

import { connect, createRoom } from '../support/api.mjs';
import { exitOnSignals } from '../support/program.mjs';
import { unlimited } from '../support/server.mjs';
import { startCluster } from './cluster.mjs';
import { users } from './stage.mjs';

exitOnSignals();
const ROUNDS = Number(process.argv[2] ?? 1000);
// Each is over before the next one begins: this is about waiting, not about load.
const EVERY_MS = 25;

const cluster = await startCluster({ env: unlimited });
const [host, ...listeners] = await users(cluster.url, 3);
const room = await createRoom(host);
const at = (/** @type {import('../support/api.mjs').User} */ user, /** @type {number} */ gateway) =>
  Object.assign(Object.create(Object.getPrototypeOf(user)), user, { url: cluster.gateways[gateway].url });

const places = ['same gateway', 'another gateway'];
const connections = [await connect(at(host, 0)), await connect(at(listeners[0], 0)), await connect(at(listeners[1], 1))];
for (const connection of connections) await connection.emit('join_room', { room_id: room.room_id });
/** @type {number[][]} */
const waits = [[], []];
/** @type {number[]} */
const acks = [];
/** @type {Map<number, number>} */
const sent = new Map();
const done = Promise.all(connections.slice(1).map((connection, place) => new Promise((resolve) => {
  connection.socket.on('state_synced', ({ playback_state }) => {
    waits[place].push(performance.now() - /** @type {number} */ (sent.get(playback_state.position)));
    if (playback_state.position === ROUNDS) resolve(undefined);
  });
})));
for (let position = 1; position <= ROUNDS; position++) {
  sent.set(position, performance.now());
  void connections[0].emit('sync_state', { playback_state: { playing: true, position } }).then(() =>
    acks.push(performance.now() - /** @type {number} */ (sent.get(position))));
  await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
}
await done;

/** @param {number[]} values @param {number} share */
const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))].toFixed(2);
console.log(`${ROUNDS} updates, one every ${EVERY_MS} ms, three gateways, two room processes, PostgreSQL and Redis\n`);
console.log('| from the host\'s emit to | p50 | p99 | most |\n|---|---|---|---|');
for (const [name, values] of /** @type {[string, number[]][]} */ ([...places.map((place, index) => [`the event on ${place === 'same gateway' ? 'the same gateway' : place}`, waits[index]]), ['the acknowledgement', acks]])) {
  console.log(`| ${name} | ${quantile(values, 0.5)} ms | ${quantile(values, 0.99)} ms | ${quantile(values, 1)} ms |`);
}
for (const connection of connections) connection.close();
await cluster.stop();
process.exit(0);
