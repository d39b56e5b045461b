import { songKey } from '../player/player.js';
import { isolated, plain } from '../ui/user-text.js';

/** So near the end of a song a pause is its end, seconds. */
const END = 1;

/**
 * @typedef {object} Playback
 * @property {import('../core/types.js').Song | null} song
 * @property {boolean} playing
 * @property {number} position seconds
 * @property {number | null} duration seconds
 * @property {boolean} isHost whether it is this user who leads
 * @property {string} hostName
 */

/**
 * What a listener who does not see the page has to be told of the music: a new song, a pause, a start. Not what only goes on, nor
 * that a song which has just been announced begins.
 */
export class PlaybackAnnouncer {
  /** @type {string | null} */
  #song = null;
  #playing = false;
  /** Whether the song was announced and has not begun: its start is no news. */
  #starting = false;

  /** @param {Playback} now @returns {string} empty where there is no news */
  next({ song, playing, position, duration, isHost, hostName }) {
    const key = songKey(song);
    const entered = this.#song === null;
    const otherSong = key !== this.#song;
    const started = playing && !this.#playing;
    const stopped = !playing && this.#playing;
    this.#song = key;
    this.#playing = playing;
    const who = isHost ? 'You' : isolated(hostName);
    if (otherSong) {
      this.#starting = !playing;
      if (song) return `${entered && !playing ? 'Paused' : 'Now playing'}: ${inWords(song)}.`;
      return entered ? 'Nothing is playing yet.' : `${who} stopped the music.`;
    }
    if (started) {
      const expected = this.#starting;
      this.#starting = false;
      return expected ? '' : `${who} started the music.`;
    }
    if (!stopped) return '';
    return duration !== null && position >= duration - END ? 'The song is over.' : `${who} paused the music.`;
  }

  /** Outside of any room. */
  forget() {
    this.#song = null;
    this.#playing = false;
    this.#starting = false;
  }
}

/** @param {import('../core/types.js').Song} song */
function inWords(song) {
  const artists = song.artists?.filter(Boolean).map(plain).join(', ');
  return `${isolated(song.title)}${artists ? ` by ${isolated(artists)}` : ''}`;
}
