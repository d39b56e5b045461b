// What a gateway says of itself while all auth or all room processes are gone or frozen.

import assert from 'node:assert/strict';
import { api, connect, createRoom, eventually } from '../support/api.mjs';
import { isAccepted, isProblem } from '../support/expect.mjs';
import { story } from '../support/story.mjs';
import { report, stage, users } from './stage.mjs';

const NOT_READY_WITHIN_MS = 5000;
const READY_WITHIN_MS = 2000;

const cluster = await stage({ gateways: 2 });
const [ann] = await users(cluster.url, 1);
const urls = cluster.gateways.map(({ url }) => url);
const services = {
  room: { parts: cluster.rooms, name: 'the room service', path: '/api/v1/rooms' },
  auth: { parts: cluster.auths, name: 'the auth service', path: '/api/v1/auth/me' },
};

/** @param {string} url @returns {Promise<string>} what it waits for; nothing if it is ready */
async function missing(url) {
  const answer = await api(url)('GET', '/readyz');
  assert.equal(answer.status, answer.text === 'ready\n' ? 200 : 503, answer.text);
  return answer.status === 200 ? '' : answer.text;
}

for (const [role, { parts, name, path }] of Object.entries(services)) {
  for (const fault of /** @type {const} */ (['killed', 'frozen'])) {
    story(`gateways are not ready while every ${role} process is ${fault}, and keep their sockets`, async (t) => {
      t.after(() => cluster.repair());
      t.after(() => parts.forEach(({ program }) => program.running && program.thaw()));
      await eventually(async () => !(await missing(cluster.url)), 'all is well');
      const room = await createRoom(ann);
      const connections = await Promise.all(urls.map((url) => connect(Object.assign(Object.create(ann), { url }))));
      for (const connection of connections) isAccepted(await connection.emit('join_room', { room_id: room.room_id }));

      const since = performance.now();
      if (fault === 'killed') await Promise.all(parts.map((part) => part.kill()));
      else for (const { program } of parts) program.freeze();
      await Promise.all(urls.map((url) => eventually(async () => {
        assert.equal(await missing(url), `waiting for ${name}\n`);
        return true;
      }, `${url} says so`, { within: NOT_READY_WITHIN_MS })));
      report(t, `every ${role} process ${fault}`, `gateways are not ready and keep their sockets`, performance.now() - since);

      // Nobody is ready, and who comes is served as well as that goes: directly and by the balancer.
      await eventually(async () => (await missing(cluster.url)) === `waiting for ${name}\n`, 'the balancer asks them all the same');
      await Promise.all([...urls, cluster.url].map(async (url) => {
        assert.equal((await fetch(`${url}/healthz`)).status, 200);
        assert.equal((await api(url)('GET', '/')).status, 200, 'the page');
        isProblem(await api(url)('GET', path, { token: ann.token }), 503, 'UNAVAILABLE');
      }));
      for (const connection of connections) await connection.fence();

      if (fault === 'killed') await Promise.all(parts.map((part) => part.start()));
      else for (const { program } of parts) program.thaw();
      const again = performance.now();
      await Promise.all(urls.map((url) => eventually(async () => !(await missing(url)), `${url} is ready again`, { within: READY_WITHIN_MS })));
      report(t, `every ${role} process ${fault}, and back`, 'gateways are ready again', performance.now() - again);
      for (const connection of connections) {
        assert.equal(connection.socket.connected, true);
        connection.close();
      }
    });
  }
}

story('one process of each that is frozen leaves gateways ready', async (t) => {
  const frozen = [cluster.rooms[0], cluster.auths[0]];
  t.after(() => frozen.forEach(({ program }) => program.thaw()));
  await eventually(async () => !(await missing(cluster.url)), 'all is well');
  const found = (/** @type {import('./cluster.mjs').Part} */ { program }) => program.text().split('a process does not answer').length;
  const before = cluster.gateways.map(found);
  for (const { program } of frozen) program.freeze();
  /** @type {string[]} */
  const said = [];
  await eventually(async () => {
    said.push(...(await Promise.all(urls.map(missing))));
    return cluster.gateways.every((gateway, place) => found(gateway) >= before[place] + 2);
  }, 'each gateway has found out about both');
  said.push(...(await Promise.all(urls.map(missing))));
  assert.deepEqual(said.filter(Boolean), []);
});
