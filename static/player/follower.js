import { median } from './lateness.js';
import { PlaybackBlocked, PlayerError } from './player.js';

/**
 * @typedef {import('./player.js').Player} Player
 *
 * @typedef {object} Target Where the room is at this moment.
 * @property {boolean} playing
 * @property {number} position seconds; before a start that lies ahead, less than `startsAt`
 * @property {number | null} startsAt the position a start that lies ahead begins from, otherwise null
 * @property {number} rate
 *
 * @typedef {object} FollowerHooks
 * @property {() => Target | null} target null while nobody knows
 * @property {() => boolean} yields whether the room follows this player (the host's) where it is far off
 * @property {(seconds: number) => void} onAdrift a player that yields is this far ahead of the room
 * @property {(seconds: number | null) => void} onMeasure measured error, positive when ahead; null when unknown
 * @property {(blocked: boolean) => void} onBlocked
 * @property {(player: Player) => void} onLearned the habits of a player are known better now
 * @property {(error: PlayerError) => void} onLost the player cannot get to where the room is
 */

const STEP_MS = 10;
// Where the host's player is further off than this, the room goes with it.
const ADRIFT = 0.12;
const PAUSED_TOLERANCE = 0.02;
const END_MARGIN = 0.05;
const BEND_SETTLE_MS = 350;
// A small correction is inaudible and may take its time; a large one is worth being quick about.
const BENDS = [{ above: 0.02, by: 0.16 }, { above: 0.01, by: 0.08 }, { above: 0.006, by: 0.05 }, { above: 0.003, by: 0.01 }, { above: 0, by: 0.003 }];
// A busy machine makes the position jitter for a moment; what was in sync is only moved on repeated word.
const SURPRISE = 0.004;
const WITNESSES = 6;
// What is close enough is looked at for longer before it is moved: the position itself wanders by a millisecond or two.
const CALM_LOOKS = 16;
/** Reads this far apart are not of a position that has found itself; after so long it is busy, and the median has to do. */
const STEADY = 0.0015;
const UNSTEADY_MS = 600;
/** A player that is better left alone is put right so often after a start. */
const ALIGNS = 3;
const LEARN = 0.5;
const LAG_LIMIT = 0.6;
const COOLDOWN_LIMIT_MS = 12_000;
/** A player that cannot be sought makes up for so many seconds by its rate, and can wait for the room as long. */
const MADE_UP_S = 3;
/** Even a song in which nobody can jump can be begun. */
const BEGINNING_S = 0.1;

/**
 * Keeps one player where the room is. It measures the distance as a median over some reads, bends small
 * errors away by the rate, seeks away large ones, and learns how long this device takes to start and to seek.
 */
export class Follower {
  /** @param {FollowerHooks} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    /** @type {Player | null} */
    this.player = null;
    /** @type {'resting' | 'starting' | 'playing' | 'blocked' | 'seeking'} */
    this.phase = 'resting';
    this.turn = 0;
    /** @type {number[]} */
    this.reads = [];
    this.settledAt = 0;
    this.inSync = false;
    /** @type {number[]} */
    this.surprises = [];
    /** @type {number[]} */
    this.calm = [];
    this.seekAllowedAt = 0;
    this.cooldownMs = 0;
    /** How often it may still be put right after this start. */
    this.aligns = 0;
    /** @type {'startLag' | 'seekLag' | null} */
    this.learning = null;
    /** @type {number | undefined} */
    this.bendTimer = undefined;
    this.stepping = setInterval(() => this.#step(), STEP_MS);
  }

  stop() { clearInterval(this.stepping); }

  /** @param {Player | null} player loaded and ready, or null to rest */
  attach(player) {
    this.player = player;
    this.retarget();
  }

  /** The room has jumped (play, pause, seek, song): what was prepared or measured is void. */
  retarget() {
    this.turn += 1;
    this.#forget();
    this.seekAllowedAt = 0;
    this.cooldownMs = this.player?.habits.cooldownMs ?? 0;
    this.aligns = ALIGNS;
    // One that was blocked tries again too: the listener may have tapped somewhere in the meantime.
    this.phase = this.player && !this.player.paused() ? 'playing' : 'resting';
    const target = this.hooks.target();
    // A start that lies ahead is prepared in silence, so that it can be exact.
    if (target?.startsAt != null && this.phase === 'playing') this.#rest();
  }

  /** Inside a tap: start after the browser had refused to. */
  unlock() {
    this.player?.unlock();
    if (this.phase !== 'blocked') return;
    this.phase = 'resting';
    this.hooks.onBlocked(false);
  }

  #rest() {
    this.player?.pause();
    this.phase = 'resting';
  }

  #forget() {
    this.reads = [];
    this.inSync = false;
    this.surprises = [];
    this.calm = [];
    this.learning = null;
    clearTimeout(this.bendTimer);
    this.player?.setRate(this.hooks.target()?.rate ?? 1);
    this.hooks.onMeasure(null);
  }

  #step() {
    const { player } = this;
    const target = player && this.hooks.target();
    if (!player || !target) return;
    if (!target.playing) this.#holdStill(player, target);
    else if (this.phase === 'resting') this.#begin(player);
    else if (this.phase === 'playing') this.#keepUp(player, target);
  }

  /** @param {Player} player @param {Target} target */
  #holdStill(player, target) {
    if (this.phase === 'seeking') return;
    if (this.phase === 'playing' || this.phase === 'starting') {
      this.turn += 1;
      this.#forget();
      this.#rest();
    }
    if (Math.abs(player.position() - target.position) > PAUSED_TOLERANCE && reaches(player, target.position)) {
      const blocked = this.phase === 'blocked';
      this.phase = 'seeking';
      void player.seek(target.position).finally(() => {
        if (this.phase === 'seeking') this.phase = blocked ? 'blocked' : 'resting';
      });
    }
  }

  /**
   * Cue a place the room has not reached yet, wait for the room to come by, start.
   * @param {Player} player
   */
  async #begin(player) {
    const turn = ++this.turn;
    const { habits } = player;
    const current = () => turn === this.turn && player === this.player;
    const before = this.hooks.target();
    if (!before) return;
    this.phase = 'starting';
    player.setRate(before.rate);
    const wanted = before.startsAt ?? before.position + habits.cueAhead * before.rate;
    // What cannot be sought begins where it stands, as soon as the room is there.
    const cue = reaches(player, wanted) ? wanted : player.position();
    if (Math.abs(cue - wanted) > MADE_UP_S) return void this.#lose();
    const end = player.duration();
    if (end !== null && cue >= end - END_MARGIN) {
      // The song is over but for a moment: nothing worth starting until the room moves on.
      this.phase = 'resting';
      return;
    }
    try {
      if (Math.abs(player.position() - cue) > 0.002) await player.seek(cue);
      const wait = () => {
        const now = this.hooks.target();
        return now ? ((cue - now.position) / now.rate - habits.startLag) * 1000 : 0;
      };
      // Timers fire late but never early; a short second one lands closer.
      for (let left = wait(); left > 4 && current(); left = wait()) await pause(left > 40 ? left - 20 : left - 2);
      if (!current()) return;
      await player.play();
      if (!current()) return;
      this.hooks.onBlocked(false);
      this.phase = 'playing';
      this.learning = 'startLag';
      this.settledAt = performance.now() + habits.settleMs;
    } catch (error) {
      if (!current()) return;
      this.phase = 'blocked';
      if (!(error instanceof PlaybackBlocked)) console.warn(error);
      this.hooks.onBlocked(true);
    }
  }

  /** @param {Player} player @param {Target} target */
  #keepUp(player, target) {
    const now = performance.now();
    if (player.paused()) {
      // Ended, or stopped from outside (a headset's button, the system): join again where the room is.
      this.#forget();
      this.phase = 'resting';
      return;
    }
    if (player.starved()) {
      this.reads = [];
      this.settledAt = now + player.habits.settleMs;
      return;
    }
    if (now < this.settledAt) return;
    this.reads.push(player.position() - target.position);
    if (this.reads.length < player.habits.samples) return;
    if (!this.inSync && apart(this.reads) > STEADY && now < this.settledAt + UNSTEADY_MS) {
      this.reads.shift();
      return;
    }
    const error = this.#believable(median(this.reads));
    this.reads = [];
    if (error === null) return;
    this.#learn(player, error);
    if (Math.abs(error) <= alignAboveOf(player.habits)) this.aligns = 0;
    this.calm = this.inSync ? [...this.calm, error] : [];
    if (!this.inSync) {
      this.hooks.onMeasure(error);
      this.#correct(player, target, error, now);
      return;
    }
    this.hooks.onMeasure(median(this.calm));
    if (this.calm.length < CALM_LOOKS) return;
    const calmError = median(this.calm);
    this.calm = this.calm.slice(1);
    this.#correct(player, target, calmError, now);
  }

  /**
   * @param {number} error
   * @returns {number | null} the error to act on, null while there is too little reason to
   */
  #believable(error) {
    if (!this.inSync || Math.abs(error) < SURPRISE) {
      this.inSync = Math.abs(error) < SURPRISE;
      this.surprises = [];
      return error;
    }
    this.surprises.push(error);
    if (this.surprises.length < WITNESSES) return null;
    const agreed = median(this.surprises);
    const span = apart(this.surprises);
    this.surprises = this.surprises.slice(1);
    if (span >= Math.max(SURPRISE, Math.abs(agreed) / 4)) return null;
    // A drop-out: what was seen before it says nothing any more.
    this.inSync = false;
    this.surprises = [];
    return agreed;
  }

  /** @param {Player} player @param {number} error */
  #learn(player, error) {
    if (!this.learning) return;
    const { habits } = player;
    // Ahead of the room means that more delay was expected than there was.
    if (Math.abs(error) < LAG_LIMIT) {
      habits[this.learning] = clamp(habits[this.learning] - LEARN * error, 0, LAG_LIMIT);
    }
    this.learning = null;
    this.hooks.onLearned(player);
  }

  /** @param {Player} player @param {Target} target @param {number} error @param {number} now */
  #correct(player, target, error, now) {
    const { habits } = player;
    const yields = this.hooks.yields();
    const size = Math.abs(error);
    if (yields && size > Math.max(ADRIFT, habits.seekAbove)) {
      this.hooks.onAdrift(error);
    } else if (size > (this.aligns > 0 ? alignAboveOf(habits) : habits.seekAbove)) {
      if (now < this.seekAllowedAt) return;
      if (!reaches(player, target.position)) {
        if (size > MADE_UP_S) this.#lose();
        else this.#bend(player, target.rate, error, now);
        return;
      }
      this.aligns -= 1;
      this.#catchUp(player, target, now);
    } else if (habits.bends && size > habits.deadZone) {
      this.#bend(player, target.rate, error, now);
    } else {
      this.cooldownMs = habits.cooldownMs;
    }
  }

  /** @param {Player} player @param {Target} target @param {number} now */
  #catchUp(player, target, now) {
    const { habits } = player;
    const aim = target.position + habits.seekLag * target.rate;
    const end = player.duration();
    if (end !== null && aim >= end - END_MARGIN) return;
    this.seekAllowedAt = now + this.cooldownMs;
    // Seeks that do not help come ever more rarely, so that a struggling device is not torn to pieces.
    this.cooldownMs = Math.min(this.cooldownMs * 2, COOLDOWN_LIMIT_MS);
    this.learning = 'seekLag';
    this.inSync = false;
    this.settledAt = now + habits.settleMs;
    void player.seek(aim);
  }

  #lose() {
    this.#rest();
    this.hooks.onLost(new PlayerError('The server of this song lets nobody jump to a place in it, so it can only be heard from its beginning. You hear the next song.', { lasting: true }));
  }

  /** @param {Player} player @param {number} rate @param {number} error @param {number} now */
  #bend(player, rate, error, now) {
    const size = Math.abs(error);
    const by = BENDS.find((bend) => size > bend.above)?.by ?? 0.003;
    const lasts = (size / (by * rate)) * 1000;
    player.setRate(rate * (1 - Math.sign(error) * by));
    this.calm = [];
    this.bendTimer = setTimeout(() => player.setRate(rate), lasts);
    this.settledAt = now + lasts + BEND_SETTLE_MS;
  }
}

/** @param {import('./player.js').Habits} habits */
function alignAboveOf({ alignAbove, seekAbove }) { return alignAbove ?? seekAbove; }

/** @param {Player} player @param {number} position seconds */
function reaches(player, position) { return (player.reach?.() ?? 'anywhere') === 'anywhere' || position < BEGINNING_S; }

/** @param {number[]} values */
function apart(values) { return Math.max(...values) - Math.min(...values); }

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) { return Math.min(high, Math.max(low, value)); }

/** @param {number} ms */
function pause(ms) { return new Promise((resolve) => { setTimeout(resolve, ms); }); }
