// What the files of this folder begin with: a cluster of one's own, rooms full of people, and a line for the table of
// docs/faults.md.

import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { closeConnections, createRoom, register } from '../support/api.mjs';
import { unlimited } from '../support/server.mjs';
import { startCluster } from './cluster.mjs';
import { Gathering, Person, sendHome } from './people.mjs';

/** How long an outage lasts: enough to be noticed by everything, and short enough for every run. 20 is the promise. */
export const OUTAGE_MS = 1000 * Number(process.env.TUTTI_FAULT_SECONDS ?? 6);

/**
 * A cluster for this file, in an order that people and connections go first.
 * @param {import('./cluster.mjs').ClusterOptions} [options]
 */
export async function stage({ env, ...options } = {}) {
  const cluster = await startCluster({
    ...options,
    env: { ...unlimited, PRESENCE_GRACE: '3s', DRAIN_TIME: '3s', ...env },
  });
  after(async () => {
    sendHome();
    closeConnections();
    // For whoever wants to know what they said.
    const logs = process.env.TUTTI_CLUSTER_LOGS;
    if (logs) for (const { name, program } of cluster.parts) writeFileSync(join(logs, `${name}.log`), program.text());
    await cluster.stop();
  });
  return cluster;
}

/**
 * @param {string} url
 * @param {number} count
 * @param {string} [name]
 */
export async function users(url, count, name = 'listener') {
  const all = [];
  // A few at a time: each password is hashed, slowly.
  while (all.length < count) {
    const some = Math.min(4, count - all.length);
    all.push(...(await Promise.all(Array.from({ length: some }, () => register(url, name)))));
  }
  return all;
}

/**
 * An open room with these in it; the first one hosts it.
 * @param {import('../support/api.mjs').User[]} members
 * @param {{urls?: string[], transports?: string[]}} [options] `urls`: by which way each of them comes in
 */
export async function gather(members, { transports = ['websocket'], urls = [] } = {}) {
  const room = await createRoom(members[0]);
  const people = [];
  for (const [place, user] of members.entries()) {
    people.push(await new Person(user, { transports, url: urls[place] }).enter(room));
  }
  return new Gathering(room, people);
}

/**
 * The first of each plays, and everybody hears it.
 * @param {Gathering[]} gatherings
 */
export async function playing(gatherings) {
  for (const { members } of gatherings) members[0].play();
  await Promise.all(gatherings.map((gathering) => gathering.recovered(performance.now())));
  return gatherings;
}

/**
 * Everybody is where they were, hears the same, and has heard nothing that cannot be.
 * @param {Gathering[]} gatherings
 * @param {string[]} urls the gateways to ask
 * @param {{socketsStay?: boolean}} [expected]
 */
export async function allIsWell(gatherings, urls, { socketsStay = false } = {}) {
  for (const gathering of gatherings) {
    await gathering.members[0].settle();
    await gathering.agreed();
    await gathering.check(urls);
    for (const person of gathering.members) {
      if (socketsStay) assert.equal(person.times('(down)'), 0, 'sockets stay');
      assert.equal(person.times('user_left'), 0, 'nobody goes');
      assert.equal(person.times('host_changed'), 0, 'the host stays');
    }
  }
}

/** Everybody goes. @param {Gathering[]} gatherings */
export function leave(gatherings) {
  for (const person of gatherings.flatMap(({ members }) => members)) person.leave();
}

/**
 * A line of the table of faults.
 * @param {import('node:test').TestContext} t
 * @param {string} fault
 * @param {string} noticed
 * @param {number} ms
 */
export function report(t, fault, noticed, ms) {
  const line = `| ${fault} | ${noticed} | ${(ms / 1000).toFixed(2)} s |`;
  t.diagnostic(line);
  if (process.env.TUTTI_FAULT_TABLE) appendFileSync(process.env.TUTTI_FAULT_TABLE, `${line}\n`);
}
