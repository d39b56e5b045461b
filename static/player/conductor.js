import { syncPlayback } from '../friend-room-client.js';
import { STOPPED } from './audio-player.js';
import { contactOf } from './contact.js';
import { Deck } from './deck.js';
import { Follower } from './follower.js';
import { ScheduledFollower } from './scheduled-follower.js';
import { LiveFollower } from './live-follower.js';
import { Meter } from './meter.js';
import { PlayerError, songKey } from './player.js';

/**
 * @typedef {import('./player.js').Player} Player
 * @typedef {import('./player.js').Song} Song
 * @typedef {import('../core/types.js').PlaybackState} PlaybackState
 * @typedef {import('../core/types.js').HostSample} HostSample
 * @typedef {import('../core/types.js').RoomState} RoomState
 *
 * @typedef {object} Link What the conductor needs of the room's client.
 * @property {() => number} serverNow
 * @property {{ready: boolean, rttMs: number, uncertaintyMs: number}} clock
 * @property {(sample: () => HostSample, intervalMs?: number) => void} startSync
 * @property {() => void} stopSync
 * @property {() => Promise<unknown>} syncNow resolves with null where nothing was sent
 * @property {(measure: import('../core/reports.js').Measure) => void} startReports
 * @property {() => void} stopReports
 *
 * @typedef {object} View What the page shows of the music.
 * @property {Song | null} song
 * @property {import('./deck.js').SongPhase} phase
 * @property {string} problem why the song cannot be played here, or not yet, in words
 * @property {import('./player.js').Reach} reach which places of the song can be gone to
 * @property {boolean} rough whether the place that is heard here is only roughly known
 * @property {boolean} playing whether the room plays
 * @property {boolean} buffering
 * @property {boolean} blocked whether the browser wants a tap first
 * @property {import('./contact.js').Contact | null} asks whom the listener has to agree to first
 * @property {number | null} duration
 * @property {boolean} isHost
 * @property {Player['kind'] | null} player what makes the sound
 * @property {number | null} offset this player's measured distance from the room, seconds; positive when ahead
 * @property {number | null} error how far this listener may be from the room: what the player measures and what the clock leaves, milliseconds
 * @property {boolean} [alone] whether there is no connection to the room at present
 * @property {number | null} roomError the same of the room, as its listeners report it
 */

const PULSE_MS = 250;
/** Where the place of a file is guessed, what the player tells of it says nothing: it may be off by so much and more. */
const ROUGH_MS = 1000;
const JUMP = 0.05;
const STARVED_MS = 600;
/** Where nothing has come for so long, nothing comes by itself any more. */
const STUCK_MS = 5_000;
// A start that lies this far ahead reaches every listener in time to begin with the host.
const LEAD_ALONE_MS = 120;
const LEAD_MS = 250;
const LEAD_MOST_MS = 1500;
/** So many of the slowest round trip: a message takes half of one up and half of another down, and jitter comes on top. */
const LEAD_TRIPS = 1.5;
/** What comes next is decoded when what is on has begun well. */
const PRELOAD_AFTER_MS = 5000;
const TAKEOVER_MS = 3000;
const OWN_WORD_MS = 1000;
const POSITION_LIMIT = 604_800;

/**
 * Holds the room's timeline. A listener takes it from the room; the host makes it, and its own player
 * follows it like everybody's, so that what the ticks carry has no jitter of any player in it. Where the
 * host's player cannot keep up (data ran out), the timeline gives in.
 */
export class Conductor {
  /** @type {PlaybackState} */
  timeline = { playing: false, position: 0 };
  blocked = false;
  /** @type {number | null} */
  offset = null;
  isHost = false;
  /** Whether this page makes the timeline: the host may have several open. */
  driving = false;
  audience = 1;
  /** Whether the room waits for this host's data. */
  stalled = false;
  /** The song this host has chosen and not introduced yet: what its player knows of it goes into the room's song. */
  introduced = '';
  // Page time, ms.
  starvedSince = 0;
  heardAt = 0;
  spokeAt = -Infinity;
  /** Whether the last thing this host did is not known to have reached the server. */
  unsaid = false;
  /** Seconds by which this device's sound is late, as its listener set it. */
  trim = 0;
  /** The slowest round trip in the room, as the server says, milliseconds. */
  slowestMs = 0;
  /** @type {number | null} */
  roomError = null;
  meter = new Meter();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  preloading = undefined;

  /**
   * @param {object} parts
   * @param {import('./web-audio-player.js').WebAudioPlayer} parts.webaudio
   * @param {import('./audio-player.js').AudioPlayer} parts.audio
   * @param {Player} parts.youtube
   * @param {() => void} parts.onChange
   * @param {() => void} parts.onMeasure only the offset has changed, which it does several times a second
   * @param {(player: Player) => void} parts.onLearned what a player's habits are on this device
   * @param {(song: Song) => boolean} [parts.mayContact] whether the listener lets the song's host see their address
   */
  constructor({ webaudio, audio, youtube, onChange, onMeasure, onLearned, mayContact }) {
    this.onChange = onChange;
    /** @type {Link | null} */
    this.link = null;
    this.webaudio = webaudio;
    this.deck = new Deck({ webaudio, audio, youtube }, (ready) => {
      this.#follow(ready);
      this.#changed();
    }, () => this.position(), mayContact);
    /** @type {import('./follower.js').FollowerHooks} */
    const hooks = {
      target: () => this.#target(),
      yields: () => this.driving,
      onAdrift: (seconds) => this.#giveIn(seconds),
      onMeasure: (seconds) => {
        this.offset = seconds;
        this.meter.add(seconds, performance.now());
        onMeasure();
      },
      onBlocked: (blocked) => { this.blocked = blocked; this.#changed(); },
      onLearned,
      onLost: (error) => this.deck.breakOff(error),
    };
    this.audio = audio;
    this.followers = { scheduled: new ScheduledFollower(hooks, webaudio), bending: new Follower(hooks), live: new LiveFollower(hooks) };
    /** The one that has the player. @type {ScheduledFollower | Follower | LiveFollower} */
    this.follower = this.followers.bending;
    this.pulse = setInterval(() => this.#pulse(), PULSE_MS);
  }

  /** For good: the elements stay, and may be given to another. */
  dispose() {
    this.onChange = () => undefined;
    this.leave();
    this.deck.dispose();
    clearInterval(this.pulse);
    for (const follower of Object.values(this.followers)) follower.stop();
  }

  #reset() {
    this.timeline = { playing: false, position: 0, timestamp_ms: 0, rate: 1 };
    this.blocked = false;
    this.offset = null;
    this.isHost = false;
    this.driving = false;
    this.audience = 1;
    this.slowestMs = 0;
    this.roomError = null;
    this.meter = new Meter();
    clearTimeout(this.preloading);
    this.stalled = false;
    this.starvedSince = 0;
    this.heardAt = 0;
    this.spokeAt = -Infinity;
    this.unsaid = false;
  }

  /** @param {Link} link @param {RoomState} state */
  enter(link, state) {
    this.leave();
    this.webaudio.prepare();
    this.link = link;
    link.startReports(() => this.#report());
    this.apply(state);
  }

  leave() {
    this.link?.stopSync();
    this.link?.stopReports();
    this.link = null;
    this.deck.clear();
    this.#reset();
    this.#changed();
  }

  /** @param {RoomState} state the room's, newer than any before */
  apply(state) {
    if (!this.link) return;
    this.audience = state.participant_count ?? this.audience;
    this.heardAt = performance.now();
    const becomesHost = state.is_host && !this.isHost;
    this.isHost = state.is_host;
    if (!this.isHost && this.driving) this.#stopDriving();
    if (!this.driving || becomesHost) this.#take(state);
    else if (this.#differs(state)) {
      // The same host, on another page, has taken the wheel; unless it spoke before it could hear us.
      if (this.unsaid || performance.now() - this.spokeAt < OWN_WORD_MS) this.#speak();
      else { this.#stopDriving(); this.#take(state); }
    } else this.unsaid = false;
    if (becomesHost) this.#startDriving();
    this.#changed();
  }

  /** @param {import('../core/types.js').RoomTimingPayload} timing */
  setTiming({ round_trip_ms: roundTripMs, error_ms: errorMs }) {
    this.slowestMs = roundTripMs;
    this.roomError = errorMs;
    this.#changed();
  }

  /** @param {number | null} player milliseconds */
  #error(player) {
    if (player === null) return null;
    return Math.max(player + (this.link?.clock.uncertaintyMs || 0), this.deck.rough() ? ROUGH_MS : 0);
  }

  #report() {
    const { clock } = this.link ?? {};
    if (!clock?.ready) return null;
    const report = { round_trip_ms: clock.rttMs, error_ms: this.#error(this.meter.take()) };
    return this.deck.player ? { ...report, player: this.deck.player.kind } : report;
  }

  /** @param {number} count */
  setAudience(count) { this.audience = count; }

  // What the host does.

  play() {
    const end = this.deck.duration();
    const from = this.position();
    this.#say({ playing: true, position: end !== null && from >= end - 0.1 ? 0 : from, startsSoon: true });
  }

  pause() { this.#say({ playing: false, position: this.position(), startsSoon: false }); }

  /** @param {number} seconds */
  seek(seconds) {
    if (this.deck.reach() !== 'anywhere') return;
    this.#say({ playing: this.timeline.playing, position: seconds, startsSoon: true });
  }

  /** @param {Song} song starts as soon as it can be heard here */
  async choose(song) {
    if (!this.isHost) return;
    this.#wheel();
    this.timeline = { playing: false, position: 0, timestamp_ms: this.#now(), rate: 1 };
    this.introduced = songKey(song);
    const loaded = this.#load(song);
    // However long it takes: a song that fails may still come.
    this.stalled = true;
    this.#speak();
    this.#changed();
    await loaded;
  }

  /** What a song that was chosen here calls itself. @param {Song} song @param {import('./anatomy/tags.js').Tags} tags */
  name(song, tags) {
    if (!this.driving || !this.deck.song || songKey(this.deck.song) !== songKey(song)) return;
    this.deck.song = { ...this.deck.song, ...tags };
    this.#speak();
    this.#changed();
  }

  /** What the player knows of a song that can be played goes into the song, and the room that waited for it goes on. @param {Player} player */
  #ready(player) {
    if (!this.driving) return;
    const { song } = this.deck;
    if (!song) return;
    const live = player.reach?.() === 'live';
    const title = this.introduced === songKey(song) ? player.title() : null;
    this.introduced = '';
    if (title || live) this.deck.song = { ...song, ...(title ? { title } : {}), ...(live ? { live } : {}) };
    const tellDuration = () => {
      const duration = player.duration();
      const { song: now } = this.deck;
      if (duration && now && !now.duration && songKey(now) === songKey(song)) this.deck.song = { ...now, duration };
    };
    // Of one that begins before all of it is there it is an estimate until then. A tick says it.
    if (player.rest) player.rest.then(tellDuration, () => undefined);
    else tellDuration();
    if (this.stalled) this.play();
  }

  // What everybody does.

  /** Inside a tap. */
  unlock() {
    this.webaudio.unlock();
    this.follower.unlock();
    this.deck.agreed();
  }

  /** @param {number} volume from 0 to 1 @param {boolean} muted */
  setVolume(volume, muted) { this.deck.setVolume(volume, muted); }

  /** @param {number} seconds */
  setTrim(seconds) { this.trim = seconds; }

  /** Another loudspeaker, perhaps: what was known of its delay says nothing any more. */
  deviceChanged() {
    this.webaudio.deviceChanged();
    this.follower.retarget();
  }

  /** Decodes what is likely to come next, once what is on has begun well. @param {Song} song */
  expect(song) {
    clearTimeout(this.preloading);
    this.preloading = setTimeout(() => { if (song.audio_url && this.deck.mayContact(song)) this.webaudio.preload(song); }, PRELOAD_AFTER_MS);
  }

  /** Tries a song that failed once more, now. */
  retry() { if (this.deck.song) void this.deck.retry(); }

  /** Where the room is, seconds. */
  position() {
    const position = Math.max(0, syncPlayback(this.timeline, this.#now()));
    const held = this.timeline.playing ? Math.max(position, this.#startsAhead() ? this.timeline.position : 0) : position;
    return Math.min(held, this.deck.duration() ?? POSITION_LIMIT);
  }

  /** What this device plays at this moment, whatever the room does. */
  heard() {
    const { player, phase } = this.deck;
    return { position: player?.position() ?? 0, moving: phase === 'ready' && player !== null && !player.paused() };
  }

  /** @returns {View} */
  view() {
    const { song, phase, problem } = this.deck;
    return {
      song, phase, problem, reach: this.deck.reach(), rough: this.deck.rough(),
      playing: this.timeline.playing || this.stalled,
      buffering: this.stalled || (this.starvedSince > 0 && this.timeline.playing),
      blocked: this.blocked && this.timeline.playing,
      asks: phase === 'asking' && song ? contactOf(song) : null,
      player: phase === 'ready' ? this.deck.player?.kind ?? null : null,
      duration: this.deck.duration(), isHost: this.isHost, offset: this.offset,
      error: this.#error(this.meter.typical(performance.now())), roomError: this.roomError,
    };
  }

  /** @param {Player | null} ready */
  #follow(ready) {
    const { scheduled, bending, live } = this.followers;
    this.follower = ready === this.webaudio ? scheduled : ready?.reach?.() === 'live' ? live : bending;
    scheduled.attach(this.follower === scheduled ? this.webaudio : null);
    live.attach(this.follower === live ? this.audio : null);
    bending.attach(this.follower === bending ? ready : null);
    if (ready) this.#ready(ready);
  }

  #changed() { this.onChange(); }

  #now() { return this.link?.serverNow() ?? 0; }

  #startsAhead() { return this.timeline.playing && (this.timeline.timestamp_ms ?? 0) > this.#now(); }

  /** @returns {import('./follower.js').Target | null} */
  #target() {
    // Before the server's clock is known, any place would be a guess that is corrected audibly a moment later.
    if (!this.link?.clock.ready) return null;
    const { playing, position, rate = 1 } = this.timeline;
    const late = playing ? this.trim : 0;
    return {
      playing, rate,
      position: playing ? syncPlayback(this.timeline, this.#now()) + late : position,
      startsAt: this.#startsAhead() ? position : null,
    };
  }

  // The wheel.

  /** @returns {HostSample} */
  #sample() {
    const now = this.#now();
    const ahead = this.#startsAhead();
    const position = clampPosition(ahead ? this.timeline.position : syncPlayback(this.timeline, now));
    return {
      playback_state: {
        playing: this.timeline.playing, position, current_time: position,
        timestamp_ms: ahead ? this.timeline.timestamp_ms : now, rate: this.timeline.rate ?? 1,
      },
      current_song: this.deck.song,
    };
  }

  #startDriving() {
    this.driving = true;
    this.link?.startSync(() => this.#sample(), 1000);
  }

  #stopDriving() {
    this.driving = false;
    this.stalled = false;
    this.link?.stopSync();
  }

  #wheel() { if (!this.driving) this.#startDriving(); }

  #speak() {
    this.spokeAt = performance.now();
    this.unsaid = true;
    this.link?.syncNow().then(
      (answer) => { if (answer) this.unsaid = false; },
      // Not lost: the next tick says it, or the word after a reconnection.
      () => undefined,
    );
  }

  /** @param {{playing: boolean, position: number, startsSoon: boolean}} word */
  #say({ playing, position, startsSoon }) {
    if (!this.isHost || !this.deck.song) return;
    this.#wheel();
    this.stalled = false;
    const rate = this.timeline.rate ?? 1;
    const lead = playing && startsSoon ? this.#leadMs() : 0;
    this.timeline = { playing, position: clampPosition(position), timestamp_ms: this.#now() + lead, rate };
    this.#speak();
    this.follower.retarget();
    this.#changed();
  }

  #leadMs() {
    if (this.audience < 2) return LEAD_ALONE_MS;
    const slowest = Math.max(this.slowestMs, this.link?.clock.rttMs || 0);
    return Math.min(LEAD_MOST_MS, LEAD_MS + LEAD_TRIPS * slowest);
  }

  /** @param {number} ahead seconds by which the host's player is ahead of its own timeline */
  #giveIn(ahead) {
    this.timeline = { ...this.timeline, position: clampPosition(this.position() + ahead), timestamp_ms: this.#now() };
    this.#speak();
  }

  // The room's word.

  /** @param {RoomState} state */
  #differs({ playback_state: next, current_song: song }) {
    if (songKey(song) !== songKey(this.deck.song) || next.playing !== this.timeline.playing) return true;
    const now = this.#now();
    return Math.abs(syncPlayback(next, now) - syncPlayback(this.timeline, now)) > 0.3;
  }

  /** @param {RoomState} state */
  #take({ playback_state: next, current_song: song }) {
    const now = this.#now();
    const before = this.timeline;
    this.timeline = { ...next, timestamp_ms: next.timestamp_ms ?? Date.parse(next.timestamp ?? '') };
    const sameSong = songKey(song) === songKey(this.deck.song);
    if (!sameSong) void this.#load(song);
    else if (song) this.deck.song = song;
    const jumped = next.playing !== before.playing || (next.rate ?? 1) !== (before.rate ?? 1)
      || Math.abs(syncPlayback(this.timeline, now) - syncPlayback(before, now)) > JUMP;
    if (!sameSong || !jumped) return;
    this.follower.retarget();
    // The host has got it to play again, or wants to: whoever had failed need not wait for the next attempt.
    if (this.deck.problem) void this.deck.retry();
  }

  /** @param {Song | null} song */
  #load(song) {
    this.stalled = false;
    this.starvedSince = 0;
    return this.deck.put(song, this.position());
  }

  // What happens by itself.

  #pulse() {
    if (!this.link) return;
    const now = performance.now();
    const { player, phase } = this.deck;
    const end = this.deck.duration();
    const over = end !== null && this.timeline.playing && this.position() >= end;
    const starved = phase === 'ready' && player !== null && !over && player.starved();
    if (starved !== this.starvedSince > 0) {
      this.starvedSince = starved ? now : 0;
      this.#changed();
    }
    if (starved && now - this.starvedSince > STUCK_MS && (player.quietMs?.() ?? 0) > STUCK_MS) this.deck.breakOff(new PlayerError(STOPPED));
    if (this.driving) this.#minds(over, end, starved && now - this.starvedSince > STARVED_MS);
    else if (this.isHost && now - this.heardAt > TAKEOVER_MS) this.#startDriving();
  }

  /** @param {boolean} over @param {number | null} end @param {boolean} starved */
  #minds(over, end, starved) {
    if (over) {
      this.#say({ playing: false, position: end ?? 0, startsSoon: false });
    } else if ((starved || this.deck.broken) && this.timeline.playing && !this.stalled && !this.blocked && this.deck.reach() !== 'live') {
      // The room waits for its host's data; running on would only make everybody jump back later.
      const { player, phase } = this.deck;
      const position = phase === 'ready' && player ? player.position() : this.position();
      this.#say({ playing: false, position, startsSoon: false });
      this.stalled = true;
      this.#changed();
    } else if (this.stalled && this.deck.phase === 'ready' && !this.starvedSince) {
      this.play();
    }
  }
}

/** @param {number} seconds */
function clampPosition(seconds) { return Math.min(POSITION_LIMIT, Math.max(0, seconds)); }
