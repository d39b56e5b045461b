// One evening after another on the same server and the same browsers.

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { byId } from '../browser/people.mjs';
import { startCluster } from '../cluster/cluster.mjs';
import { cast, createRoom } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { hurrySound, listener, openBrowser } from './listeners.mjs';
import { apartFrom, spreadOf, tearsOf, togetherAfter, windowsOf } from './measure.mjs';
import { Song } from './place.mjs';
import { makeSong, SAMPLE_RATE } from './song.mjs';
import { songServer } from './song-server.mjs';
import { startSound } from './sound.mjs';

export const PEOPLE = 4;
const LONG_S = 660;
const SHORT_S = 150;
/** After this a distance counts, and before it only the time it took. */
const SETTLE_S = 3;
const CHANGE_S = 2;
const START_MS = 30_000;
/** @type {Record<import('./listeners.mjs').PlayerKind, import('./listeners.mjs').PlayerKind>} */
const OTHER = { webaudio: 'audio', audio: 'webaudio' };
const SETTINGS = { ...unlimited, PRESENCE_GRACE: '2s', SOCKET_PING_INTERVAL: '1s', SOCKET_PING_TIMEOUT: '1s' };

/** Where others get more of the machine's time than this, its sound may break. */
const ROBBED = 0.05;
/** Seconds around such a moment: the buffers last for some, and what broke is mended within two. */
const ROBBED_FOR = { before: 1, after: 3 };

/**
 * How the machine is meanwhile: the share of half seconds in which hardly anything was left of it, the share of its time that a host of
 * several gave to others, and when it gave them much.
 */
function watchMachine() {
  const read = () => {
    const times = readFileSync('/proc/stat', 'utf8').split('\n')[0].split(/ +/).slice(1, 9).map(Number);
    return { idle: times[3] + times[4], stolen: times[7], all: times.reduce((sum, time) => sum + time, 0) };
  };
  const first = read();
  let before = first;
  let full = 0;
  let looks = 0;
  /** @type {number[]} */
  const robbedAt = [];
  const timer = setInterval(() => {
    const now = read();
    const all = Math.max(1, now.all - before.all);
    looks += 1;
    if ((now.idle - before.idle) / all < 0.1) full += 1;
    if ((now.stolen - before.stolen) / all > ROBBED) robbedAt.push(Date.now());
    before = now;
  }, 500);
  return () => {
    clearInterval(timer);
    const now = read();
    return { full: full / Math.max(1, looks), stolen: (now.stolen - first.stolen) / Math.max(1, now.all - first.all), robbedAt };
  };
}

/** @param {{ long: boolean }} options whether a song of eleven minutes is needed */
export async function openHall({ long }) {
  const samples = [makeSong(long ? LONG_S : SHORT_S, 1), makeSong(SHORT_S, 2)];
  const songs = samples.map((each) => new Song(each));
  const files = await songServer(samples);
  const sound = await startSound(PEOPLE);
  const browsers = await Promise.all(Array.from({ length: PEOPLE }, (_, index) => openBrowser(sound.env(index))));
  const tutti = await startTutti({ env: SETTINGS });
  const guests = await cast(tutti.url, 'ann', 'bob', 'cleo', 'dan');
  /** @type {import('../cluster/cluster.mjs').Cluster | undefined} */
  let cluster;
  let seed = 0;

  return {
    /**
     * @param {import('./scenarios.mjs').Scenario} scenario
     * @param {import('./listeners.mjs').PlayerKind} player
     * @param {boolean} [verbose]
     */
    async play(scenario, player, verbose = false) {
      seed += 100;
      if (scenario.cluster) cluster ??= await startCluster({ env: SETTINGS, auths: 1, rooms: 1, gateways: 2 });
      const users = scenario.cluster && cluster ? await cast(cluster.url, 'ann', 'bob', 'cleo', 'dan') : guests;
      const players = users.map((_, index) => (scenario.mixed && index >= PEOPLE / 2 ? OTHER[player] : player));
      const people = await Promise.all(users.map((user, index) => (
        listener(browsers[index], user, { player: players[index], fault: scenario.faults?.[index] ?? {}, seed: seed + index, hosts: [files.host] }))));
      hurrySound();
      // New threads come with the first sound.
      const hurrying = setInterval(hurrySound, 500);
      const recorder = await sound.record();
      const machineAfter = watchMachine();
      const { room_id: roomId } = await createRoom(users[0]);
      /** @type {{ title: string, at: number, goal?: import('./measure.mjs').Goal }[]} */
      const marks = [];
      /** @type {import('./scenarios.mjs').Stage['mark']} */
      const mark = (title, goal) => { marks.push({ title, at: Date.now(), goal }); };
      /** @type {import('./scenarios.mjs').Stage['listen']} */
      const listen = (seconds) => pause(seconds * 1000);
      const leader = people[0].page;
      const paste = (/** @type {number} */ number) => leader.fill(byId('song-link'), files.address(number));
      /** @type {import('./scenarios.mjs').Stage['press']} */
      const press = async (id, title, goal) => {
        const button = leader.locator(byId(id));
        await button.hover();
        if (title) mark(title, goal);
        await leader.mouse.down();
        await leader.mouse.up();
      };
      const coming = scenario.late ? people.slice(0, -1) : people;
      for (const one of coming) {
        await one.enter(roomId);
        await one.page.waitForSelector(byId('room-title'));
      }
      await listen(2);
      await paste(0);
      await press('play-link', scenario.late ? undefined : 'start');
      await Promise.all(coming.map(({ page }) => page.waitForFunction(
        () => document.querySelector('[data-testid="sync-offset"]')?.textContent, undefined, { timeout: START_MS })));
      const began = Date.now();
      await scenario.act?.({ people, roomId, mark, paste, press, listen, restart: () => tutti.restart(), gateways: cluster?.gateways ?? [] });
      if (scenario.seconds) await listen((scenario.settle ?? SETTLE_S) + scenario.seconds);
      const told = await Promise.all(people.map(({ page }) => page.evaluate(() => {
        const meter = /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="sync-offset"]'));
        const { player = '', error } = meter?.dataset ?? {};
        return { player, errorMs: error ? Number(error) : null };
      })));
      const machine = machineAfter();
      clearInterval(hurrying);
      const whole = await recorder.stop();
      const recording = scenario.leaves ? { ...whole, channels: whole.channels.slice(1) } : whole;
      await Promise.all(people.map((one) => one.close()));

      const second = (/** @type {number} */ ms) => (ms - recording.startedAtMs) / 1000;
      const windows = windowsOf(recording, songs);
      // From one change to the next, each with a moment to follow it.
      const changes = marks.slice(scenario.late ? 0 : 1).map(({ at }) => second(at));
      const starts = [...(scenario.late ? [] : [second(began) + (scenario.settle ?? SETTLE_S)]), ...changes.map((at) => at + CHANGE_S)];
      const ends = [...(scenario.late ? changes.slice(1) : changes), recording.channels[0].length / SAMPLE_RATE];
      const spans = starts.map((from, index) => ({ from, to: ends[index] }));
      const ownSpans = apartFrom(spans, machine.robbedAt.map(second), ROBBED_FOR);
      if (verbose) {
        for (const { at, positions, spreadMs } of windows) {
          const base = positions.find((position) => position !== null) ?? 0;
          console.error(at.toFixed(2), spreadMs?.toFixed(2) ?? '–', positions.map((position) => (
            position === null ? '–' : ((position - base) * 1000).toFixed(2))).join(' '), base.toFixed(2));
        }
      }
      return {
        title: scenario.title, player, players, machine, told,
        spread: spreadOf(windows, spans),
        ownSpread: spreadOf(windows, ownSpans),
        together: marks.map(({ title, at, goal }) => ({ title, seconds: togetherAfter(recording, songs, windows, second(at), goal) })),
        tears: tearsOf(recording, windows, spans),
        ownTears: tearsOf(recording, windows, ownSpans),
      };
    },

    async close() {
      await Promise.all(browsers.map((browser) => browser.close()));
      await tutti.stop();
      await cluster?.repair();
      await cluster?.stop();
      await sound.stop();
      files.close();
    },
  };
}

