import { addressOf } from './contact.js';
import { explain, placeOf } from './diagnosis.js';
import { NotDecodable, NotReadable, PlayerError } from './player.js';

/**
 * @typedef {import('./player.js').Player} Player
 * @typedef {import('./player.js').Song} Song
 * @typedef {'empty' | 'asking' | 'loading' | 'ready' | 'failed'} SongPhase `asking`: its host may not be contacted before the listener agrees
 */

/** What answers nothing in this time is said to be slow, and waited for. */
const SLOW_MS = 5_000;
/** A song that failed is tried again by itself, ever more rarely. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** A song that could play for so long is well again: if it fails then, it is tried again soon. */
const WELL_MS = 30_000;

/** Holds the one song that is on, in the player that can play it. Of two songs put on, the later one stays. */
export class Deck {
  /** @type {Song | null} */
  song = null;
  /** @type {SongPhase} */
  phase = 'empty';
  /** Why the song cannot be played here, or not yet, in words. */
  problem = '';
  /** Whether the song that failed is tried again without anybody's help. */
  retrying = false;
  /** Whether the song could play here once, broke off, and may come back. */
  broken = false;
  /** The player of the song, also while it loads. @type {Player | null} */
  player = null;

  #loads = 0;
  /** Places that let no page read what they have: their songs go to `<audio>` at once. @type {Set<string>} */
  #closed = new Set();
  #attempts = 0;
  #readyAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #onOnline = () => { if (this.retrying) void this.retry(); };

  /**
   * @param {{webaudio: Player, audio: Player, youtube: Player}} players
   * @param {(ready: Player | null) => void} onChange after every change of phase, with the player if it could play
   * @param {() => number} whereFrom seconds at which a song that is tried again will begin
   * @param {(song: Song) => boolean} mayContact whether the listener lets the song's host see their address
   */
  constructor(players, onChange, whereFrom = () => 0, mayContact = () => true) {
    this.players = players;
    this.onChange = onChange;
    this.whereFrom = whereFrom;
    this.mayContact = mayContact;
    for (const player of Object.values(players)) player.onBreak = (error) => { if (player === this.player) this.breakOff(error); };
    globalThis.addEventListener?.('online', this.#onOnline);
  }

  dispose() {
    this.clear();
    globalThis.removeEventListener?.('online', this.#onOnline);
  }

  /**
   * @param {Song | null} song
   * @param {number} [from] seconds at which it will begin
   * @returns {Promise<boolean>} whether it is this song that can be played now
   */
  put(song, from = 0) {
    this.#attempts = 0;
    this.broken = false;
    return this.#put(song, from);
  }

  /** Tries the song that failed once more, at once. @returns {Promise<boolean>} whether it can be played now */
  retry() { return this.#put(this.song, this.whereFrom(), this.problem); }

  /** The listener has agreed. */
  agreed() { if (this.phase === 'asking') void this.retry(); }

  /**
   * The song could play, and goes on no more.
   * @param {PlayerError} error
   */
  breakOff(error) {
    if (this.phase !== 'ready') return;
    this.broken = !error.lasting;
    if (performance.now() - this.#readyAt > WELL_MS) this.#attempts = 0;
    void this.#fall(error, this.#beginLoad());
  }

  #beginLoad() {
    const load = ++this.#loads;
    clearTimeout(this.#timer);
    this.retrying = false;
    return () => load === this.#loads;
  }

  /** @param {Song | null} song @param {number} from @param {string} [problem] what is said of it until it is known better */
  async #put(song, from, problem = '') {
    const current = this.#beginLoad();
    const asks = song !== null && !this.mayContact(song);
    const player = song && !asks ? this.#playerOf(song) : null;
    // Nobody steers the player while it changes its song.
    this.#turn(!song ? 'empty' : asks ? 'asking' : 'loading', song, asks ? '' : problem);
    if (this.player && this.player !== player) this.player.unload();
    this.player?.pause();
    this.player = player;
    if (!song || !player) return false;
    this.#timer = setTimeout(() => {
      if ((this.player?.quietMs?.() ?? Infinity) < SLOW_MS) return;
      this.#turn('loading', this.song, `${placeOf(song)} is slow to answer, or does not answer. Tutti keeps trying.`);
    }, SLOW_MS);
    return this.#load(player, current, from);
  }

  /** @param {Song} song */
  #playerOf(song) {
    const { webaudio, audio, youtube } = this.players;
    if (song.youtube_video_id) return youtube;
    // What is sent at this moment has no end that a page could decode.
    if (song.live) return audio;
    return this.#closed.has(originOf(song)) ? audio : webaudio;
  }

  /** @param {Player} player @param {() => boolean} current @param {number} [from] @returns {Promise<boolean>} */
  async #load(player, current, from) {
    try {
      await player.load(/** @type {Song} */ (this.song), from);
    } catch (error) {
      return this.#fall(error, current, from);
    }
    if (!current()) return false;
    clearTimeout(this.#timer);
    this.#readyAt = performance.now();
    this.broken = false;
    this.#turn('ready', this.song);
    // Of one that plays already the rest may still be lost.
    player.rest?.catch((error) => this.#fall(error, current, this.whereFrom()));
    return true;
  }

  /** @param {unknown} error @param {() => boolean} current @param {number} [from] @returns {Promise<boolean>} */
  async #fall(error, current, from) {
    if (!current()) return false;
    this.player?.unload();
    const origin = originOf(/** @type {Song} */ (this.song));
    if (error instanceof NotDecodable && this.player !== this.players.audio) {
      if (error instanceof NotReadable && origin !== location.origin) this.#closed.add(origin);
      this.#turn('loading', this.song, this.problem);
      this.player = this.players.audio;
      return this.#load(this.player, current, from);
    }
    // It was not that, then: nothing comes from there at present.
    this.#closed.delete(origin);
    if (!(error instanceof PlayerError)) console.warn(error);
    await this.#fail(error instanceof PlayerError ? error : new PlayerError('This song could not be played here.'), current);
    return false;
  }

  /** @param {PlayerError} error @param {() => boolean} current */
  async #fail(error, current) {
    clearTimeout(this.#timer);
    const { song } = this;
    if (!song) return;
    this.#turn('failed', song, error.message);
    const { words, lasting } = await explain(song, error, this.broken);
    if (!current()) return;
    this.retrying = !lasting;
    this.#turn('failed', song, words);
    if (lasting) return;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#timer = setTimeout(() => void this.retry(), waitMs);
  }

  /** Takes the song off; the elements stay, and may be given to another. */
  clear() {
    this.#beginLoad();
    this.#turn('empty', null);
    this.player?.unload();
    this.player = null;
  }

  /** @returns {number | null} seconds, as the player knows them, else as the song says */
  duration() { return (this.phase === 'ready' ? this.player?.duration() : null) ?? this.song?.duration ?? null; }

  /** @returns {import('./player.js').Reach} which places of the song can be gone to, as far as it is known */
  reach() {
    if (this.song?.live) return 'live';
    return (this.phase === 'ready' && this.player?.reach?.()) || 'anywhere';
  }

  /** Whether nobody knows exactly which place of the song is heard here. */
  rough() { return this.phase === 'ready' && (this.player?.rough?.() ?? false); }

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
function originOf(song) { return addressOf(song)?.origin ?? ''; }
