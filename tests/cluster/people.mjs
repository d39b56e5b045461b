// People who listen through a cluster while it breaks. Each uses the client library as a page would, comes back as it
// does, and remembers all that arrived and when.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { FriendRoomClient } from '../../static/friend-room-client.js';
import { agentOfOneself, eventually } from '../support/api.mjs';

/** @typedef {import('../support/api.mjs').User} User */

/**
 * What arrived on a connection, and `(up)` and `(down)` for the connection itself.
 * @typedef {{at: number, event: string, payload: any}} Arrival
 */

/** What a client holds, as it told its page. @typedef {{at: number, version: number, position: number, host_id: string}} Held */

/**
 * What a host sent, and what became of it.
 * @typedef {object} Sync
 * @property {number} position
 * @property {number} sentAt
 * @property {number} [settledAt]
 * @property {number} [version] where it was accepted
 * @property {{code: string, message: string}} [error] where it was not
 */

/** @type {Set<Person>} */
const people = new Set();

/** Everybody goes home, so that nothing keeps this process alive. */
export function sendHome() {
  for (const person of people) person.leave();
}

export class Person {
  /** @type {Arrival[]} */
  heard = [];
  /** @type {Held[]} */
  held = [];
  /** @type {Sync[]} */
  syncs = [];
  /** @type {(() => void) | undefined} */
  #stopPlaying;

  /**
   * @param {User} user
   * @param {{url?: string, transports?: string[]}} [options] `url`: another way in than the user's
   */
  constructor(user, { url = user.url, transports } = {}) {
    this.user = user;
    this.client = new FriendRoomClient(url, user.session, {
      transports,
      io: (address, options) => this.#record(io(address, { ...options, agent: /** @type {any} */ (agentOfOneself()) })),
    });
    this.client.onRoomStateChange = ({ version, playback_state, host_id }) =>
      this.held.push({ at: performance.now(), version, position: playback_state.position, host_id });
    people.add(this);
  }

  get user_id() {
    return this.user.user_id;
  }
  get name() {
    return this.user.username;
  }
  get isHost() {
    return this.client.isHost;
  }

  /** @param {any} socket */
  #record(socket) {
    const note = (/** @type {string} */ event, /** @type {unknown} */ payload) =>
      this.heard.push({ at: performance.now(), event, payload });
    socket.onAny(note);
    socket.on('connect', () => note('(up)', socket.id));
    socket.on('disconnect', (/** @type {string} */ reason) => note('(down)', reason));
    return socket;
  }

  /** @param {{room_id: string}} room */
  async enter({ room_id }) {
    await this.client.connect();
    await this.client.joinRoom(room_id);
    return this;
  }

  leave() {
    this.stopPlaying();
    this.client.disconnect();
    people.delete(this);
  }

  /**
   * Sends one state as the room's host; never fails, but writes down what happened. The position tells it apart from
   * every other one.
   * @param {number} position
   */
  async sync(position) {
    /** @type {Sync} */
    const sync = { position, sentAt: performance.now() };
    this.syncs.push(sync);
    try {
      sync.version = (await this.client.syncState({ playback_state: { playing: true, position } })).version;
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      sync.error = { code, message };
    }
    sync.settledAt = performance.now();
    return sync;
  }

  /** Goes on sending states, one second further each, whenever it is host and connected. @param {number} everyMs */
  play(everyMs = 200, from = 1 + (this.syncs.at(-1)?.position ?? 0)) {
    let position = from;
    const timer = setInterval(() => {
      if (this.client.connected && this.isHost) void this.sync(position++);
    }, everyMs);
    this.#stopPlaying = () => clearInterval(timer);
  }

  stopPlaying() {
    this.#stopPlaying?.();
    this.#stopPlaying = undefined;
  }

  /** Stops playing, and waits until each state that was sent is known to be accepted or not. */
  async settle() {
    this.stopPlaying();
    await eventually(() => this.syncs.every((sync) => sync.settledAt !== undefined), `all of ${this.name} is answered`);
  }

  /** @param {string} event @param {(payload: any) => boolean} [which] */
  times(event, which = () => true) {
    return this.heard.filter((arrival) => arrival.event === event && which(arrival.payload)).length;
  }
}

/**
 * A room with its people in it, the first of them its host.
 * @param {{room_id: string}} room
 * @param {Person[]} members
 */
export class Gathering {
  /** @param {{room_id: string}} room @param {Person[]} members */
  constructor(room, members) {
    this.room = room;
    this.members = members;
  }

  get room_id() {
    return this.room.room_id;
  }

  /** All that hosts of this room have sent, in the order in which they did. */
  get syncs() {
    return this.members.flatMap(({ syncs }) => syncs).sort((a, b) => a.sentAt - b.sentAt);
  }

  /** @returns {Sync | undefined} the accepted one with the highest version */
  get latest() {
    return this.syncs.reduce((/** @type {Sync | undefined} */ best, sync) =>
      (sync.version ?? 0) > (best?.version ?? 0) ? sync : best, undefined);
  }

  /**
   * Waits until everybody holds a state that was sent after `since`.
   * @param {number} since as `performance.now` had it
   * @returns {Promise<number>} the milliseconds that the last of them waited
   */
  async recovered(since, within = 15_000) {
    /** @param {Person} person */
    const first = (person) => {
      const fresh = new Set(this.syncs.filter(({ sentAt, version }) => sentAt >= since && version !== undefined).map(({ position }) => position));
      const held = person.held.find(({ at, position }) => at >= since && fresh.has(position))?.at;
      // Nobody tells a host what it has sent itself.
      return held ?? person.syncs.find(({ sentAt, version }) => sentAt >= since && version !== undefined)?.settledAt;
    };
    try {
      await eventually(() => this.members.every((person) => first(person) !== undefined), 'everybody hears the music', { within });
    } catch {
      const deaf = this.members.filter((person) => first(person) === undefined);
      const why = deaf.map((person) => `${person.name}: ${tail(person)}`).join('\n');
      throw new Error(`after ${within} ms without the music:\n${why}\nsyncs: ${JSON.stringify(this.syncs.slice(-5))}`);
    }
    return Math.max(...this.members.map((person) => /** @type {number} */ (first(person)))) - since;
  }

  /** Waits until everybody holds what was accepted last. */
  async agreed(within = 10_000) {
    await eventually(() => {
      const { version, position } = /** @type {Sync} */ (this.latest);
      for (const { client, name } of this.members) {
        const known = client.room;
        assert.ok(known && known.version >= /** @type {number} */ (version), `${name} has ${known?.version}, not ${version}`);
        if (known.version === version) assert.equal(known.playback_state.position, position, name);
      }
      return true;
    }, 'everybody holds what was accepted last', { within });
  }

  /** Waits until everybody knows who is there and who is host, as the first of these gateways has it. @param {string[]} urls */
  async whole([url], within = 10_000) {
    const [{ user }] = this.members;
    await eventually(async () => {
      const answer = await fetch(`${url}/api/v1/rooms/${this.room_id}`, { headers: { authorization: `Bearer ${user.token}` } });
      const { host_id, participants } = /** @type {any} */ (await answer.json());
      for (const { client, name } of this.members) {
        assert.equal(client.room?.host_id, host_id, name);
        assert.deepEqual([...(client.room?.participants ?? [])].sort(), [...participants].sort(), name);
      }
      return true;
    }, 'everybody knows who is there', { within });
  }

  /**
   * What must hold whatever happened, checked on all that everybody heard and on what the gateways say now.
   * @param {string[]} urls of gateways
   */
  async check(urls) {
    for (const person of this.members) for (const sync of person.syncs) isAnswered(person, sync);
    isInOrder(this.syncs);
    for (const person of this.members) {
      presenceAlternates(person);
      neverGoesBack(person, this.syncs);
    }
    versionsAgree(this);
    const asking = this.members[0].user;
    for (const url of urls) {
      // Exactly one host, who is a participant, and the same one wherever one asks.
      const answer = await fetch(`${url}/api/v1/rooms/${this.room_id}`, { headers: { authorization: `Bearer ${asking.token}` } });
      assert.equal(answer.status, 200, `${url}: ${await answer.clone().text()}`);
      const room = /** @type {any} */ (await answer.json());
      assert.ok(room.participants.includes(room.host_id), `the host ${room.host_id} is one of ${room.participants}`);
      assert.equal(new Set(room.participants).size, room.participants.length, 'nobody is there twice');
      assert.equal(room.participant_count, room.participants.length);
      for (const person of this.members) {
        assert.ok(room.participants.includes(person.user_id), `${person.name} is there`);
        assert.equal(person.client.room?.host_id, room.host_id, `${person.name} knows who is host`);
        assert.deepEqual([...(person.client.room?.participants ?? [])].sort(), [...room.participants].sort(), `${person.name} knows who is there`);
      }
      const { latest } = this;
      if (!latest) continue;
      assert.ok(room.version >= /** @type {number} */ (latest.version), `${room.version} is not below the ${latest.version} that was acknowledged`);
      assert.ok(room.playback_state.position >= latest.position, `${room.playback_state.position} is not before ${latest.position}`);
    }
  }
}

/** No request hangs. @param {Person} person @param {Sync} sync */
function isAnswered(person, { position, sentAt, settledAt, error }) {
  assert.ok(settledAt !== undefined, `${position} is not answered at all`);
  const took = settledAt - sentAt;
  // 2 s are promised; the rest is a busy machine's. That a gateway is dead, a client that polls learns from the balancer,
  // which asks it some times again.
  const most = error?.message === 'the connection was lost' ? 5000 : 2500;
  assert.ok(took <= most, `${position} was answered after ${took.toFixed(0)} ms: ${JSON.stringify(error)}`);
  if (!error) return;
  const then = performance.now() - /** @type {number} */ (settledAt);
  assert.equal(error.code, 'UNAVAILABLE', `${position}, ${then.toFixed(0)} ms ago: ${JSON.stringify(error)}\n${tail(person)}`);
}

/** What was sent later has the higher version. @param {Sync[]} syncs */
function isInOrder(syncs) {
  const accepted = syncs.filter(({ version }) => version !== undefined);
  for (const [place, { version, position }] of accepted.entries()) {
    if (place === 0) continue;
    const before = accepted[place - 1];
    assert.ok(/** @type {number} */ (version) > /** @type {number} */ (before.version), `${position} has version ${version}, ${before.position} had ${before.version}`);
  }
}

/** Whom one sees come was away, and whom one sees go was there. @param {Person} person */
function presenceAlternates(person) {
  /** @type {Set<string> | undefined} */
  let there;
  for (const { event, payload } of person.heard) {
    if (event === '(up)') there = undefined;
    else if (event === 'room_joined') there = new Set(payload.room_state.participants);
    else if (event === 'user_joined' && there) {
      assert.ok(!there.has(payload.user_id), `${person.name} sees ${payload.username} come who was there\n${tail(person)}`);
      there.add(payload.user_id);
    } else if (event === 'user_left' && there) {
      assert.ok(there.has(payload.user_id), `${person.name} sees ${payload.username} go who was not there\n${tail(person)}`);
      there.delete(payload.user_id);
    }
  }
}

/** @param {Person} person @param {Sync[]} syncs */
function neverGoesBack(person, syncs) {
  let version = 0;
  let position = 0;
  for (const held of person.held) {
    assert.ok(held.version >= version, `${person.name} held ${version}, then ${held.version}`);
    assert.ok(held.position >= position, `${person.name} held ${position} s, then ${held.position} s, with versions ${version} and ${held.version}`);
    ({ version, position } = held);
  }
  let upAt = 0;
  for (const { at, event, payload } of person.heard) {
    if (event === '(up)') upAt = at;
    if (event !== 'room_joined') continue;
    const known = syncs.filter(({ settledAt }) => settledAt !== undefined && settledAt < upAt).map((sync) => sync.version ?? 0);
    const least = Math.max(0, ...known);
    assert.ok(payload.room_state.version >= least, `${person.name} joins at ${payload.room_state.version} when ${least} had been acknowledged`);
  }
}

/** A version is one state, whoever has it. @param {Gathering} gathering */
function versionsAgree({ members, syncs }) {
  /** @type {Map<number, number>} */
  const positions = new Map();
  const note = (/** @type {number} */ version, /** @type {number} */ position, /** @type {string} */ who) => {
    const known = positions.get(version) ?? position;
    assert.equal(position, known, `version ${version} of ${who}`);
    positions.set(version, known);
  };
  for (const { version, position } of syncs) if (version !== undefined) note(version, position, 'the host');
  for (const { heard, name } of members) {
    for (const { event, payload } of heard) {
      if (event === 'state_synced') note(payload.version, payload.playback_state.position, name);
    }
  }
}

/** The last things somebody heard, for messages. @param {Person} person */
export function tail(person, count = 12) {
  const now = performance.now();
  return person.heard
    .filter(({ event }) => event !== 'pong')
    .slice(-count)
    .map(({ at, event, payload }) => `${(at - now).toFixed(0)} ms ${event} ${JSON.stringify(payload)?.slice(0, 160)}`)
    .join('\n  ');
}
