import { PlaybackBlocked } from './player.js';

/** @typedef {import('./follower.js').FollowerHooks} FollowerHooks @typedef {import('./audio-player.js').AudioPlayer} AudioPlayer */

const STEP_MS = 100;

/**
 * Lets a station be heard while the room plays. There is no place to keep to: everybody hears what reaches them, some seconds apart.
 */
export class LiveFollower {
  /** @param {FollowerHooks} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    /** @type {AudioPlayer | null} */
    this.player = null;
    /** @type {'resting' | 'joining' | 'playing' | 'blocked'} */
    this.phase = 'resting';
    /** Whether what the player holds is of an earlier moment. */
    this.stale = false;
    this.stepping = setInterval(() => this.#step(), STEP_MS);
  }

  stop() { clearInterval(this.stepping); }

  /** @param {AudioPlayer | null} player loaded and ready, or null to rest */
  attach(player) {
    this.player = player;
    this.stale = false;
    this.phase = 'resting';
    this.hooks.onMeasure(null);
  }

  /** A station has no places to go to; who was refused sound may ask again. */
  retarget() { if (this.phase === 'blocked') this.phase = 'resting'; }

  /** Inside a tap. */
  unlock() {
    this.player?.unlock();
    if (this.phase !== 'blocked') return;
    this.phase = 'resting';
    this.hooks.onBlocked(false);
  }

  #step() {
    const { player } = this;
    const playing = player && this.hooks.target()?.playing;
    if (!player) return;
    if (playing && this.phase === 'resting') void this.#join(player);
    else if (playing && this.phase === 'playing' && player.paused()) this.phase = 'resting';
    else if (!playing && this.phase === 'playing') {
      player.pause();
      this.stale = true;
      this.phase = 'resting';
    }
  }

  /** @param {AudioPlayer} player */
  async #join(player) {
    this.phase = 'joining';
    try {
      if (this.stale) await player.rejoin();
      this.stale = false;
      player.setRate(1);
      await player.play();
      if (player !== this.player) return;
      this.phase = 'playing';
      this.hooks.onBlocked(false);
    } catch (error) {
      if (player !== this.player) return;
      if (error instanceof PlaybackBlocked) {
        this.phase = 'blocked';
        this.hooks.onBlocked(true);
      } else this.hooks.onLost(/** @type {import('./player.js').PlayerError} */ (error));
    }
  }
}
