import { NotDecodable, NotReadable, PlayerError } from './player.js';

/**
 * @typedef {import('./player.js').Player} Player
 * @typedef {import('./player.js').Song} Song
 * @typedef {'empty' | 'loading' | 'ready' | 'failed'} SongPhase
 */

/** Holds the one song that is on, in the player that can play it. Of two songs put on, the later one stays. */
export class Deck {
  /** @type {Song | null} */
  song = null;
  /** @type {SongPhase} */
  phase = 'empty';
  /** Why the song cannot be played here, in words. */
  problem = '';
  /** The player of the song, also while it loads. @type {Player | null} */
  player = null;

  #loads = 0;
  /** Places that let no page read what they have: their songs go to `<audio>` at once. @type {Set<string>} */
  #closed = new Set();

  /**
   * @param {{webaudio: Player, audio: Player, youtube: Player}} players
   * @param {(ready: Player | null) => void} onChange after every change of phase, with the player if it could play
   */
  constructor(players, onChange) {
    this.players = players;
    this.onChange = onChange;
  }

  /**
   * @param {Song | null} song
   * @param {number} [from] seconds at which it will begin
   * @returns {Promise<boolean>} whether it is this song that can be played now
   */
  async put(song, from = 0) {
    const load = ++this.#loads;
    const current = () => load === this.#loads;
    const player = song && this.#playerOf(song);
    // Nobody steers the player while it changes its song.
    this.#turn(song ? 'loading' : 'empty', song);
    if (this.player && this.player !== player) this.player.unload();
    this.player?.pause();
    this.player = player;
    if (!song || !player) return false;
    return this.#load(player, current, from);
  }

  /** @param {Song} song */
  #playerOf(song) {
    const { webaudio, audio, youtube } = this.players;
    if (song.youtube_video_id) return youtube;
    return this.#closed.has(originOf(song)) ? audio : webaudio;
  }

  /** @param {Player} player @param {() => boolean} current @param {number} [from] @returns {Promise<boolean>} */
  async #load(player, current, from) {
    try {
      await player.load(/** @type {Song} */ (this.song), from);
    } catch (error) {
      return this.#fall(error, current);
    }
    if (!current()) return false;
    this.#turn('ready', this.song);
    // Of one that plays already the rest may still be lost.
    player.rest?.catch((error) => this.#fall(error, current));
    return true;
  }

  /** @param {unknown} error @param {() => boolean} current @returns {Promise<boolean>} */
  async #fall(error, current) {
    if (!current()) return false;
    this.player?.unload();
    const origin = originOf(/** @type {Song} */ (this.song));
    if (error instanceof NotDecodable && this.player !== this.players.audio) {
      if (error instanceof NotReadable && origin !== location.origin) this.#closed.add(origin);
      this.#turn('loading', this.song);
      this.player = this.players.audio;
      return this.#load(this.player, current);
    }
    // It was not that, then: nothing comes from there at present.
    this.#closed.delete(origin);
    if (!(error instanceof PlayerError)) console.warn(error);
    this.#turn('failed', this.song, error instanceof PlayerError ? error.message : 'This song could not be played here.');
    return false;
  }

  /** Takes the song off; the elements stay, and may be given to another. */
  clear() {
    this.#loads += 1;
    this.#turn('empty', null);
    this.player?.unload();
    this.player = null;
  }

  /** @returns {number | null} seconds, as the player knows them, else as the song says */
  duration() { return (this.phase === 'ready' ? this.player?.duration() : null) ?? this.song?.duration ?? null; }

  /** @param {number} volume from 0 to 1 @param {boolean} muted */
  setVolume(volume, muted) {
    this.players.webaudio.setVolume(volume, muted);
    this.players.audio.setVolume(volume, muted);
    this.players.youtube.setVolume(volume, muted);
  }

  /** @param {SongPhase} phase @param {Song | null} song @param {string} [problem] */
  #turn(phase, song, problem = '') {
    this.phase = phase;
    this.song = song;
    this.problem = problem;
    this.onChange(phase === 'ready' ? this.player : null);
  }
}

/** @param {Song} song */
function originOf({ audio_url: address = '' }) {
  return URL.canParse(address, location.href) ? new URL(address, location.href).origin : '';
}
