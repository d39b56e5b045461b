// The disk of the database is full, and then it is not. Meanwhile writes are refused and all else goes on; afterwards
// everything is as before, without a restart.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { cast, closeConnections, eventually, register } from '../support/api.mjs';
import { isAccepted, isProblem } from '../support/expect.mjs';
import { binary, exitOnSignals, freePort, Program, temporaryFolder, whenUp } from '../support/program.mjs';
import { scene } from '../support/scene.mjs';
import { unlimited } from '../support/server.mjs';
import { mayMount, SmallDisk } from '../support/small-disk.mjs';
import { story } from '../support/story.mjs';
import { startPostgres } from '../cluster/engines.mjs';

exitOnSignals();

/** What is promised, and what a busy machine takes besides. Milliseconds. */
const ANSWERED_MS = 2500;

/** Starts Tutti. @param {string} folder @param {Record<string, string>} env @param {(command: string[]) => string[]} [wrap] */
async function start(folder, env, wrap = (command) => command) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const program = new Program({
    name: 'Tutti',
    command: wrap([binary()]),
    env: { ...unlimited, HTTP_ADDR: `127.0.0.1:${port}`, ADMIN_ADDR: '127.0.0.1:0', ...env },
    log: join(folder, 'tutti.log'),
  });
  program.start();
  await whenUp(program, async () => {
    try {
      return (await fetch(`${url}/readyz`)).ok;
    } catch {
      return false;
    }
  });
  return { program, url };
}

/** @param {string} url @param {string} [query] */
async function readiness(url, query = '') {
  const answer = await fetch(`${url}/readyz${query}`);
  return { status: answer.status, text: await answer.text() };
}

/**
 * Fills the disk and frees it again while somebody makes rooms.
 * @param {import('node:test').TestContext} t
 * @param {string} url
 * @param {SmallDisk} disk
 * @returns the one who made them, and those that were acknowledged
 */
async function isFullForAWhile(t, url, disk) {
  const [ann, ben] = await cast(url, 'ann', 'ben');
  const { room, connections } = await scene('websocket', ann, ben);
  const [host, guest] = connections;
  /** @type {string[]} */
  const acknowledged = [];
  /** Tries once; an answer that is no success must be an honest one. */
  async function tries() {
    const began = performance.now();
    const answer = await ann.post('/api/v1/rooms/create', { is_friends_only: false });
    const took = performance.now() - began;
    assert.ok(took < ANSWERED_MS, `answered ${answer.status} after ${took} ms`);
    if (answer.status === 201) acknowledged.push(answer.body.room_id);
    else isProblem(answer, 503, 'UNAVAILABLE');
    return answer.status;
  }
  assert.equal(await tries(), 201);
  /** Says where the song is, which is heard. @param {number} position */
  async function plays(position) {
    isAccepted(await host.emit('sync_state', { playback_state: { playing: true, position } }));
    await guest.next('state_synced', ({ playback_state }) => playback_state.position === position);
  }
  await plays(1);

  disk.fill();
  let tried = 0;
  while ((await tries()) === 201) assert.ok((tried += 1) < 1000, 'a full disk refuses something in the end');
  const refused = performance.now();
  await eventually(async () => (await readiness(url)).status === 503, 'it is not ready', { within: 5000 });
  const noticed = performance.now() - refused;
  assert.match((await readiness(url)).text, /the database to take writes/);
  // Whoever balances goes on sending what can be answered.
  assert.equal((await readiness(url, '?exclude=writes')).status, 200);

  // All connections to the database meet it, again and again.
  for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 8 }, tries));
  assert.equal((await ann.get('/api/v1/auth/me')).status, 200, 'the database is read');
  assert.equal((await ben.get(`/api/v1/rooms/${room.room_id}`)).status, 200);
  for (const position of [10, 20]) await plays(position);
  assert.equal((await readiness(url)).status, 503, 'it is not ready all the while');

  disk.free();
  const freed = performance.now();
  await eventually(async () => (await tries()) === 201, 'writes are taken again', { within: 5000 });
  const taken = performance.now() - freed;
  await eventually(async () => (await readiness(url)).status === 200, 'it is ready again', { within: 5000 });
  const ready = performance.now() - freed;
  t.diagnostic(`not ready ${noticed.toFixed(0)} ms after the first refusal; freed, writes were taken after ${taken.toFixed(0)} ms, and it was ready after ${ready.toFixed(0)} ms`);
  // By every connection to the database.
  for (const status of await Promise.all(Array.from({ length: 24 }, tries))) assert.equal(status, 201);
  await register(url, 'cat');
  return { user: ann, acknowledged };
}

if (mayMount()) {
  story('SQLite refuses writes while its disk is full, and takes them again when it is not', async (t) => {
    const folder = temporaryFolder();
    const data = join(folder, 'data');
    const disk = new SmallDisk(data, 16);
    const { program, url } = await start(folder, { TUTTI_DATA_DIR: data }, (command) => disk.wrap(command));
    disk.of(program);
    after(() => (closeConnections(), program.stop()));
    const { user, acknowledged } = await isFullForAWhile(t, url, disk);
    // As it would be found after a crash.
    const copy = join(folder, 'copy');
    cpSync(disk.here, copy, { recursive: true });
    const found = await start(copy, { TUTTI_DATA_DIR: copy });
    user.url = found.url;
    const lost = [];
    for (const room of acknowledged) if ((await user.get(`/api/v1/rooms/${room}`)).status !== 200) lost.push(room);
    await found.program.stop();
    assert.deepEqual(lost, [], 'what was acknowledged is there');
  });

  story('PostgreSQL refuses writes while its disk is full, and takes them again when it is not', async (t) => {
    const folder = temporaryFolder();
    const small = join(folder, 'small');
    const disk = new SmallDisk(small, 24);
    const postgres = await startPostgres(folder, { wrap: (command, identity) => disk.wrap(command, identity) });
    disk.of(postgres.server);
    const sql = (/** @type {string} */ statement, server = postgres.url) =>
      execFileSync('psql', ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--command', statement, server], { encoding: 'utf8' });
    sql(`CREATE TABLESPACE small LOCATION '${small}'`);
    sql('CREATE DATABASE tutti TABLESPACE small');
    const database = postgres.url.replace(/postgres$/, 'tutti');
    const { program, url } = await start(folder, { DATABASE_URL: database, TUTTI_DATA_DIR: join(folder, 'data') });
    after(async () => {
      closeConnections();
      await program.stop();
      await postgres.stop();
    });
    const { acknowledged } = await isFullForAWhile(t, url, disk);
    const there = new Set(sql('SELECT room_id FROM music_rooms', database).split('\n'));
    assert.deepEqual(acknowledged.filter((room) => !there.has(room)), [], 'what was acknowledged is there');
  });
} else {
  void test('a disk that is full', { skip: 'this user may not mount anything' });
}
