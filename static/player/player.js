/**
 * What every player offers, whatever makes the sound. Positions are seconds of the song.
 *
 * @typedef {import('../core/types.js').Song} Song
 *
 * @typedef {object} Habits How a player behaves when it is corrected; the follower steers by these.
 * @property {number} seekAbove seconds of error from which a listener seeks
 * @property {number} [alignAbove] the same right after a start, for one that is better left alone later
 * @property {number} cooldownMs least time between two correcting seeks
 * @property {number} settleMs how long the position says nothing reliable after a start or a seek
 * @property {number} samples positions read for one measurement
 * @property {boolean} bends whether small errors can be bent away by the rate
 * @property {number} deadZone seconds of error left alone
 * @property {number} startLag seconds from play() to the sound; learned on this device
 * @property {number} seekLag seconds a seek while playing costs; learned on this device
 * @property {number} cueAhead seconds ahead of the room at which a start is prepared
 * @property {boolean} [scheduled] whether it can be told to be at a place at a moment; then nothing has to be learned
 *
 * @typedef {object} Player
 * @property {'webaudio' | 'audio' | 'youtube'} kind
 * @property {Habits} habits
 * @property {(song: Song, from?: number) => Promise<void>} load resolves when the song could play, from so many seconds on; rejects with a PlayerError
 * @property {Promise<void>} [rest] of a song that could play before all of it was there: rejects with a PlayerError if that does not come
 * @property {() => void} unload
 * @property {() => number} position
 * @property {() => number | null} duration
 * @property {() => boolean} paused
 * @property {() => boolean} starved whether data to go on with is missing
 * @property {() => Promise<void>} play rejects with PlaybackBlocked where the browser wants a tap first
 * @property {() => void} pause
 * @property {(seconds: number) => Promise<void>} seek resolves when the place is ready to play
 * @property {(rate: number) => void} setRate
 * @property {(volume: number, muted: boolean) => void} setVolume volume from 0 to 1
 * @property {() => void} unlock inside a tap: makes later play() calls allowed
 * @property {() => string | null} title what the source itself calls the song
 * @property {((error: PlayerError) => void) | null} [onBreak] told when a song that could play cannot go on
 * @property {() => number} [quietMs] for how long nothing of the song has come, milliseconds; Infinity where nothing has come yet
 * @property {() => Reach} [reach] which places of the song that could play can be gone to; without it: any
 * @property {() => boolean} [rough] whether the place it tells may be wrong by more than can be heard; without it: no
 *
 * @typedef {'anywhere' | 'onward' | 'live'} Reach `onward`: the song plays from its beginning, and nobody can jump in it. `live`: there
 * are no places, only what is sent at this moment.
 */

/** A song that cannot be played, with words for the listener. */
export class PlayerError extends Error {
  /**
   * @param {string} [message]
   * @param {{ lasting?: boolean }} [options] `lasting`: another attempt would end the same way
   */
  constructor(message, { lasting = false } = {}) {
    super(message);
    this.lasting = lasting;
  }
}

/** A song that is better played while it loads: too long to be decoded as a whole, too slow to come, or not to be read by a page. */
export class NotDecodable extends PlayerError {}

/** Where it comes from, no page may read it. */
export class NotReadable extends NotDecodable {}

/** The browser refuses sound until the listener has tapped. */
export class PlaybackBlocked extends Error {}

/**
 * A URL goes in and out with its song, so it identifies the sound better than the title does.
 * @param {Song | null | undefined} song
 * @returns {string} equal for two states of one song, "" for none
 */
export function songKey(song) {
  if (!song) return '';
  if (song.youtube_video_id) return `youtube:${song.youtube_video_id}`;
  return song.audio_url ? `audio:${song.audio_url}` : `title:${song.title}`;
}
