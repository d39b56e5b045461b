// Wall clocks that are set while a program runs, and how far a server's time is ahead of this process's.

import { execFileSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';

/** What a busy machine makes of no difference at all; clocks are set by two hundred times as much. */
export const CLOSE_MS = 50;

// Debian has the library where the loader finds it by a name with `$LIB` in it, which is this program's to know.
const LD_PRELOAD = execFileSync('faketime', ['-m', '-f', '+0s', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' }).trim();

// Redis's own malloc asks for the time before faketime knows any: libc's comes before it.
const LIBC = 'libc.so.6';

/** What goes on by itself is left alone, as it is when a machine's clock is set. */
const FAKETIME = { LD_PRELOAD: `${LD_PRELOAD}:${LIBC}`, FAKETIME_DONT_FAKE_MONOTONIC: '1', FAKETIME_DISABLE_SHM: '1' };

/** The settings of a program whose machine's clock is wrong. @param {string} by as in `+3s` */
export function wrongClock(by) {
  return { ...FAKETIME, FAKETIME: by };
}

/** The wall clock of a program that is started with `env`. It is right until it is set. */
export class WallClock {
  #file;
  setByMs = 0;

  /** @param {string} file a path of its own */
  constructor(file) {
    this.#file = file;
    this.set(0);
  }

  get env() {
    return { ...FAKETIME, FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_NO_CACHE: '1' };
  }

  /** Sets it to so many milliseconds ahead of the right time. @param {number} ms */
  set(ms) {
    this.setByMs = ms;
    // Whoever reads it finds the old time or the new one.
    writeFileSync(`${this.#file}.new`, `${ms < 0 ? '-' : '+'}${Math.abs(ms) / 1000}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/** How far a gateway's time is ahead of this process's, by the fastest of some probes. @param {import('./api.mjs').Connection} connection */
export async function aheadMs(connection) {
  let best = { roundTrip: Infinity, ahead: NaN };
  for (let probe = 0; probe < 10; probe++) {
    const sent = Date.now();
    const { received_ms, sent_ms } = await connection.emit('ping', {});
    const roundTrip = Date.now() - sent;
    if (roundTrip < best.roundTrip) best = { roundTrip, ahead: (received_ms + sent_ms) / 2 - (sent + roundTrip / 2) };
  }
  return best.ahead;
}

/** What a process says of its wall clock: how far Tutti's time is ahead of it. @param {string} metrics */
export function saidOffsetMs(metrics) {
  const [, seconds] = /^tutti_clock_offset_seconds (\S+)$/m.exec(metrics) ?? [];
  return seconds === undefined ? undefined : 1000 * Number(seconds);
}
