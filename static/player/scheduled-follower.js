import { PlaybackBlocked } from './player.js';

/**
 * @typedef {import('./follower.js').Target} Target
 * @typedef {import('./follower.js').FollowerHooks} FollowerHooks
 * @typedef {import('./web-audio-player.js').WebAudioPlayer} WebAudioPlayer
 */

const STEP_MS = 20;
/** How often the rate is set: a change of it is a step that nobody hears, and yet no reason to make many. */
const STEER_EVERY_MS = 200;
/** An error is to be gone after about this long. */
const HORIZON_S = 1.5;
const MOST = 0.005;
/** An error this large, seen this often in a row, is a drop-out or a wrong start: no rate mends it in time. */
const WITNESSES = 3;
const PAUSED_TOLERANCE = 0.02;
const END_MARGIN = 0.05;

/**
 * Keeps a player where the room is that can be told when to play what. Nothing has to be learned or tried: the start is
 * scheduled, and what the clocks say later is followed by the rate.
 */
export class ScheduledFollower {
  /** @param {FollowerHooks} hooks @param {WebAudioPlayer} webaudio its clock is looked at before it has a song, so that a start need not wait for it */
  constructor(hooks, webaudio) {
    this.hooks = hooks;
    this.webaudio = webaudio;
    /** @type {WebAudioPlayer | null} */
    this.player = null;
    /** @type {'resting' | 'waking' | 'playing' | 'blocked'} */
    this.phase = 'resting';
    this.turn = 0;
    /** @type {number[]} */
    this.errors = [];
    this.steeredAt = 0;
    /** When what is heard can be measured again, page time. */
    this.settledAt = 0;
    this.doubts = 0;
    this.stepping = setInterval(() => this.#step(), STEP_MS);
  }

  stop() { clearInterval(this.stepping); }

  /** @param {WebAudioPlayer | null} player loaded and ready, or null to rest */
  attach(player) {
    this.player = player;
    this.turn += 1;
    this.phase = 'resting';
    this.#forget();
  }

  /** The room has jumped. */
  retarget() {
    this.#forget();
    const target = this.hooks.target();
    if (this.player && target && !target.playing) this.#holdStill(this.player, target);
    // What sounds goes on to the moment at which all jump.
    else if (this.phase === 'playing' && this.player?.ready() && target?.playing) this.#place(this.player, target);
    else if (this.phase !== 'waking') this.phase = 'resting';
  }

  /** Inside a tap. */
  unlock() {
    this.player?.unlock();
    if (this.phase !== 'blocked') return;
    this.phase = 'resting';
    this.hooks.onBlocked(false);
  }

  #forget() {
    this.errors = [];
    this.doubts = 0;
    this.hooks.onMeasure(null);
  }

  #step() {
    this.webaudio.look();
    const { player } = this;
    if (!player) return;
    const target = this.hooks.target();
    if (!target) return;
    if (!target.playing) this.#holdStill(player, target);
    else if (this.phase === 'resting') void this.#begin(player);
    else if (this.phase === 'playing') this.#keepUp(player, target);
  }

  /** @param {WebAudioPlayer} player @param {Target} target */
  #holdStill(player, target) {
    if (this.phase === 'playing' || this.phase === 'waking') {
      this.turn += 1;
      this.phase = 'resting';
      this.#forget();
    }
    if (!player.paused()) player.pause();
    if (Math.abs(player.position() - target.position) > PAUSED_TOLERANCE) void player.seek(target.position);
  }

  /** @param {WebAudioPlayer} player */
  async #begin(player) {
    const turn = ++this.turn;
    this.phase = 'waking';
    try {
      await player.wake();
      // The clock of the sound is known some tenths of a second after it began to run: `step` asks again.
      const target = this.hooks.target();
      if (turn !== this.turn || player !== this.player) return;
      this.hooks.onBlocked(false);
      this.phase = 'resting';
      if (!target?.playing || !player.ready()) return;
      this.phase = 'playing';
      this.#place(player, target);
    } catch (error) {
      if (turn !== this.turn) return;
      this.phase = 'blocked';
      if (!(error instanceof PlaybackBlocked)) console.warn(error);
      this.hooks.onBlocked(true);
    }
  }

  /** @param {WebAudioPlayer} player @param {Target} target */
  #place(player, target) {
    const now = performance.now();
    const end = player.duration();
    const { position, startsAt, rate } = target;
    const place = startsAt ?? position;
    if (end !== null && place >= end - END_MARGIN) {
      // Over but for a moment: nothing worth starting until the room moves on.
      player.pause();
      this.phase = 'resting';
      return;
    }
    if (!player.covers(place)) {
      // Not decoded yet. It rests there, and is asked again until it is.
      player.pause();
      void player.seek(place);
      this.phase = 'resting';
      return;
    }
    const inMs = ((place - position) / rate) * 1000;
    player.startAt(place, now + inMs, rate);
    this.settledAt = now + inMs + player.habits.settleMs;
    this.steeredAt = now;
    this.errors = [];
    this.doubts = 0;
  }

  /** @param {WebAudioPlayer} player @param {Target} target */
  #keepUp(player, target) {
    const now = performance.now();
    if (player.paused()) {
      // Ended: whoever seeks back starts it anew.
      this.phase = 'resting';
      this.#forget();
      return;
    }
    if (!player.awake()) {
      // A locked phone, a call: the system has taken the sound away. It is asked for again, and may want a tap.
      player.pause();
      this.phase = 'resting';
      this.#forget();
      return;
    }
    if (!player.ready() || now < this.settledAt) return;
    this.errors.push(player.placeAt(now) - target.position);
    if (now - this.steeredAt < STEER_EVERY_MS) return;
    const error = mean(this.errors);
    this.errors = [];
    this.hooks.onMeasure(error);
    this.#steer(player, target, error);
    this.steeredAt = now;
  }

  /** @param {WebAudioPlayer} player @param {Target} target @param {number} error */
  #steer(player, target, error) {
    this.doubts = Math.abs(error) > player.habits.seekAbove ? this.doubts + 1 : 0;
    if (this.doubts >= WITNESSES) {
      this.#place(player, target);
      return;
    }
    player.setRate(target.rate * (1 - clamp(error / HORIZON_S, MOST)));
  }
}

/** @param {number} value @param {number} most either way */
function clamp(value, most) { return Math.min(most, Math.max(-most, value)); }

/** @param {number[]} values */
function mean(values) { return values.reduce((sum, value) => sum + value, 0) / values.length; }
