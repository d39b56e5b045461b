// scripts/skew: how far apart several people hear the same song, from the sound itself.

import { openHall } from './stage.mjs';
import { scenarios } from './scenarios.mjs';

/** Longer than this is left out of a quick run. */
const LONG_S = 120;
const args = process.argv.slice(2);
const has = (/** @type {string} */ flag) => args.includes(flag);
const value = (/** @type {string} */ flag) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
const only = value('--only');
const chosen = scenarios.filter(({ title, brief, seconds }) => (
  only ? title.includes(only) : has('--brief') ? brief : seconds <= LONG_S || !has('--quick')));
const kinds = /** @type {import('./listeners.mjs').PlayerKind[]} */ (value('--player') ? [value('--player')] : ['webaudio', 'audio']);
const repeat = Number(value('--repeat') ?? 1);

const HEAD = ['scenario', 'player', 'median ms', 'p95 ms', 'worst ms', 'within 10 ms after, s', 'holes', 'jumps', 'meter ±ms', 'machine full', 'stolen'];
const number = (/** @type {number | null} */ amount, digits = 1) => (amount === null ? '–' : amount.toFixed(digits));
const percent = (/** @type {number} */ share) => `${Math.round(share * 100)} %`;
// What it was while the machine's time went to others is said apart.
const apart = (/** @type {number | null} */ all, /** @type {number | null} */ own) => (
  number(all) === number(own) ? number(all) : `${number(own)} (${number(all)} when robbed)`);
/** @param {number} all @param {number} own */
const torn = (all, own) => (all > own ? `${own} (and ${all - own} when robbed)` : String(own));
const row = (/** @type {string[]} */ cells) => console.log(`| ${cells.join(' | ')} |`);

const hall = await openHall({ long: chosen.some(({ seconds }) => seconds > LONG_S) });
try {
  row(HEAD);
  row(HEAD.map(() => '---'));
  for (const player of kinds) {
    for (const scenario of chosen) {
      for (let turn = 0; turn < repeat; turn += 1) {
        const { title, machine, players, spread, ownSpread, together, tears, ownTears, told } = await hall.play(scenario, player, has('--verbose'));
        const after = together.map((one) => `${one.title} ${number(one.seconds, 2)}`).join(', ');
        // What the pages themselves believe: the least sure of them.
        const errors = told.flatMap((each) => each?.errorMs ?? []);
        const meter = errors.length ? Math.max(...errors) : null;
        if (told.some((each, index) => each?.player && each.player !== players[index])) {
          console.error(`${title}: played by ${told.map((each) => each?.player).join(', ')}`);
        }
        const missing = spread.missing > 0.02 ? ` (${Math.round(spread.missing * 100)} % not placed)` : '';
        row([title + missing, player, apart(spread.medianMs, ownSpread.medianMs), apart(spread.p95Ms, ownSpread.p95Ms), apart(spread.worstMs, ownSpread.worstMs), after,
          torn(tears.holes, ownTears.holes), torn(tears.jumps, ownTears.jumps), number(meter),
          percent(machine.full), percent(machine.stolen)]);
      }
    }
  }
} finally {
  await hall.close();
}
