// What happens to four people who listen together. The first one leads.

import { byId } from '../browser/people.mjs';

/**
 * @typedef {import('./listeners.mjs').Listener} Listener
 * @typedef {import('./listeners.mjs').Fault} Fault
 *
 * @typedef {object} Stage
 * @property {Listener[]} people
 * @property {string} roomId
 * @property {(title: string, goal?: import('./measure.mjs').Goal) => void} mark from now on it is counted how soon all are together there
 * @property {(seconds: number) => Promise<void>} listen lets the music play
 * @property {(number: number) => Promise<void>} paste the leader names a song
 * @property {(id: string, title?: string, goal?: import('./measure.mjs').Goal) => Promise<void>} press the leader presses a button, which is marked
 * @property {() => Promise<void>} restart the server ends and starts again
 * @property {import('../cluster/cluster.mjs').Part[]} gateways those of a cluster
 *
 * @typedef {object} Scenario
 * @property {string} title
 * @property {Fault[]} [faults] one a person
 * @property {number} seconds how long it is listened to
 * @property {number} [settle] seconds from the start that count for being together, not for the distance
 * @property {boolean} [mixed] half of them play by the other player
 * @property {boolean} [late] the last one comes later
 * @property {boolean} [leaves] the leader leaves: the others are compared
 * @property {boolean} [cluster] it plays on several processes behind a balancer
 * @property {boolean} [brief] belongs to the short form
 * @property {(stage: Stage) => Promise<void>} [act] what is done after the start, instead of listening
 */

const uneven = { delayMs: 80, jitterMs: 40 };

/** @type {Scenario[]} */
export const scenarios = [
  { title: 'clean', seconds: 30, brief: true },
  { title: 'clocks wrong by +37 s and −2.5 s', faults: [{}, { wrongMs: 37_000 }, { wrongMs: -2500 }, {}], seconds: 30 },
  {
    title: 'the same, and 80 ± 40 ms each way', seconds: 40, settle: 5,
    faults: [uneven, { wrongMs: 37_000, ...uneven }, { wrongMs: -2500, ...uneven }, uneven],
  },
  { title: 'one clock 200 ppm fast', faults: [{}, { ppm: 200 }, {}, {}], seconds: 60 },
  { title: 'half of them by the other player', mixed: true, seconds: 30 },
  {
    title: 'a late joiner', seconds: 0, late: true,
    async act({ people, roomId, mark, listen }) {
      await listen(6);
      mark('late joiner');
      await people[3].enter(roomId);
      await listen(15);
    },
  },
  {
    title: 'pause, play, seek, next song', seconds: 0,
    async act({ people, mark, listen, paste, press }) {
      const { page } = people[0];
      await listen(5);
      await press('play-pause', 'pause', { silent: true });
      await listen(3);
      await press('play-pause', 'play');
      await listen(8);
      mark('seek', { beyond: 55 });
      await page.fill(byId('seek'), '60');
      await listen(8);
      await paste(1);
      await press('play-link', 'next song', { song: 1 });
      await listen(8);
    },
  },
  {
    title: 'the host is gone, and succeeded', seconds: 0, leaves: true,
    async act({ people, listen }) {
      await listen(5);
      await people[0].page.goto('about:blank');
      await listen(20);
    },
  },
  {
    title: 'the server restarted in the middle', seconds: 0,
    async act({ restart, listen }) {
      await listen(5);
      await restart();
      await listen(20);
    },
  },
  {
    title: 'a gateway killed in the middle', seconds: 0, cluster: true,
    async act({ gateways: [first], listen }) {
      await listen(5);
      await first.kill();
      await listen(20);
      await first.start();
    },
  },
  { title: '10 minutes steady', seconds: 600 },
];
