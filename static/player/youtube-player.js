import { PlaybackBlocked, PlayerError } from './player.js';

/** @typedef {import('./player.js').Player} Player @typedef {import('./player.js').Song} Song */

/**
 * @typedef {object} YouTubeWidget The part of the IFrame API that is used here.
 * @property {(options: {videoId: string, startSeconds?: number}) => void} cueVideoById
 * @property {() => void} playVideo
 * @property {() => void} pauseVideo
 * @property {() => void} stopVideo
 * @property {(seconds: number, allowSeekAhead: boolean) => void} seekTo
 * @property {() => number} getCurrentTime
 * @property {() => number} getDuration
 * @property {() => number} getPlayerState
 * @property {() => {title?: string}} getVideoData
 * @property {(rate: number) => void} setPlaybackRate
 * @property {(volume: number) => void} setVolume
 * @property {() => void} mute
 * @property {() => void} unMute
 *
 * @typedef {{Player: new (place: HTMLElement, options: object) => YouTubeWidget}} YouTubeApi
 */

const API_URL = 'https://www.youtube.com/iframe_api';
const REACH_TIMEOUT_MS = 5_000;
const CUE_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 3_000;
/** YouTube tells its place four times a second at least. */
const MOST_BETWEEN_S = 0.3;
const STATE = { ended: 0, playing: 1, paused: 2, buffering: 3, cued: 5 };
const UNREACHABLE = 'YouTube cannot be reached from here, so this song stays silent on this device.';

/** @type {Promise<YouTubeApi> | null} */
let api = null;

function loadApi() {
  api ??= /** @type {Promise<YouTubeApi>} */ (new Promise((resolve, reject) => {
    const page = /** @type {Window & {YT?: YouTubeApi, onYouTubeIframeAPIReady?: () => void}} */ (window);
    const script = document.createElement('script');
    const fail = () => {
      script.remove();
      // Forget the failure: the next YouTube song tries again.
      api = null;
      reject(new PlayerError(UNREACHABLE));
    };
    const timer = setTimeout(fail, REACH_TIMEOUT_MS);
    page.onYouTubeIframeAPIReady = () => {
      clearTimeout(timer);
      resolve(/** @type {YouTubeApi} */ (page.YT));
    };
    script.onerror = () => { clearTimeout(timer); fail(); };
    script.src = API_URL;
    document.head.append(script);
  }));
  return api;
}

/**
 * YouTube plays nothing for a page that does not say where it is, as this one does to nobody else. A frame takes the policy of the page
 * at the moment it is made.
 * @param {'strict-origin-when-cross-origin' | 'same-origin'} content
 */
function setReferrerPolicy(content) {
  const policy = Object.assign(document.createElement('meta'), { name: 'referrer', content });
  document.head.append(policy);
  // It counts from the moment it was in the page, until the next one is.
  policy.remove();
}

/**
 * A player of YouTube videos in YouTube's own frame, loaded when first needed.
 * @implements {Player}
 */
export class YouTubePlayer {
  /** @type {'youtube'} */
  kind = 'youtube';

  // YouTube tells its time coarsely, and correcting it often makes the sound drop out: align once, then leave alone.
  habits = {
    seekAbove: 0.5, alignAbove: 0.1, cooldownMs: 5000, settleMs: 1500, samples: 10, bends: false, deadZone: 0.15,
    startLag: 0.25, seekLag: 0.3, cueAhead: 0.6,
  };

  /** @param {HTMLElement} place is filled with the frame, and hidden while no video is loaded */
  constructor(place) {
    this.place = place;
    /** @type {YouTubeWidget | null} */
    this.widget = null;
    /** @type {Promise<YouTubeWidget> | null} */
    this.opening = null;
    this.loads = 0;
    this.volume = 1;
    this.muted = false;
    this.rate = 1;
    /** What YouTube said last of its place, and since when, page time. */
    this.told = { position: 0, atMs: 0 };
    /** @type {Set<(event: {state?: number, error?: number}) => void>} */
    this.waiting = new Set();
    /** Whether the song could play: what YouTube refuses from then on breaks it off. */
    this.loaded = false;
    /** @type {Player['onBreak']} */
    this.onBreak = null;
  }

  /** @param {Song} song */
  async load(song) {
    const load = ++this.loads;
    this.loaded = false;
    const videoId = song.youtube_video_id ?? '';
    const { Player } = await loadApi();
    if (load !== this.loads) return;
    this.place.hidden = false;
    // A second song that comes meanwhile waits for the same frame.
    this.opening ??= this.#open(Player).catch((error) => { this.opening = null; throw error; });
    this.widget = await this.opening;
    if (load !== this.loads) return;
    this.setVolume(this.volume, this.muted);
    this.widget.cueVideoById({ videoId });
    const outcome = await this.#until((state) => state === STATE.cued, CUE_TIMEOUT_MS);
    if (load !== this.loads) return;
    if (outcome === 'timeout') throw new PlayerError(UNREACHABLE);
    if (outcome !== 'reached') throw refusal(outcome);
    this.loaded = true;
  }

  /**
   * @param {YouTubeApi['Player']} Player
   * @returns {Promise<YouTubeWidget>}
   */
  #open(Player) {
    const target = document.createElement('div');
    this.place.replaceChildren(target);
    setReferrerPolicy('strict-origin-when-cross-origin');
    const opened = new Promise((/** @type {(widget: YouTubeWidget) => void} */ resolve, reject) => {
      const timer = setTimeout(() => reject(new PlayerError(UNREACHABLE)), REACH_TIMEOUT_MS);
      const widget = new Player(target, {
        host: 'https://www.youtube-nocookie.com', width: '100%', height: '100%',
        playerVars: { controls: 0, disablekb: 1, playsinline: 1, rel: 0, fs: 0, origin: location.origin },
        events: {
          onReady: () => { clearTimeout(timer); resolve(widget); },
          onStateChange: (/** @type {{data: number}} */ event) => this.#tell({ state: event.data }),
          onError: (/** @type {{data: number}} */ event) => this.#tell({ error: event.data }),
        },
      });
    });
    return opened.finally(() => setReferrerPolicy('same-origin'));
  }

  unload() {
    this.loads += 1;
    this.loaded = false;
    this.widget?.stopVideo();
    this.place.hidden = true;
  }

  position() {
    const position = this.widget?.getCurrentTime() ?? 0;
    const now = performance.now();
    if (position !== this.told.position) this.told = { position, atMs: now };
    // It may say the same for a quarter of a second, while it plays on.
    const since = this.widget?.getPlayerState() === STATE.playing ? (now - this.told.atMs) / 1000 : 0;
    return position + Math.min(since, MOST_BETWEEN_S) * this.rate;
  }

  duration() { return this.widget?.getDuration() || null; }

  paused() {
    const state = this.widget?.getPlayerState();
    return state !== STATE.playing && state !== STATE.buffering;
  }

  starved() { return this.widget?.getPlayerState() === STATE.buffering; }

  async play() {
    if (!this.widget) return;
    const started = this.#until((state) => state === STATE.playing || state === STATE.buffering, START_TIMEOUT_MS);
    this.widget.playVideo();
    // A refused start is not reported: the player just stays where it was.
    if (await started === 'timeout' && this.paused()) throw new PlaybackBlocked();
  }

  pause() { this.widget?.pauseVideo(); }

  /** @param {number} seconds */
  async seek(seconds) {
    // Seeking a video that was only cued would start it; the place is taken along by the start instead.
    if (this.widget?.getPlayerState() === STATE.cued && seconds < 0.3) return;
    this.widget?.seekTo(Math.max(0, seconds), true);
    if (this.widget?.getPlayerState() === STATE.cued) this.widget.pauseVideo();
  }

  /** @param {number} rate */
  setRate(rate) {
    if (rate === this.rate) return;
    this.rate = rate;
    this.widget?.setPlaybackRate(rate);
  }

  /** @param {number} volume @param {boolean} muted */
  setVolume(volume, muted) {
    this.volume = volume;
    this.muted = muted;
    this.widget?.setVolume(volume * 100);
    if (muted) this.widget?.mute(); else this.widget?.unMute();
  }

  unlock() { this.widget?.playVideo(); }

  title() { return this.widget?.getVideoData().title || null; }

  /** @param {{state?: number, error?: number}} event */
  #tell(event) {
    for (const hear of [...this.waiting]) hear(event);
    // YouTube refuses many a video only when it is to start, and the word that the one before was ready may come in between.
    if (event.error === undefined || !this.loaded) return;
    this.loaded = false;
    this.onBreak?.(refusal(event.error));
  }

  /**
   * @param {(state: number) => boolean} wanted
   * @param {number} timeoutMs
   * @returns {Promise<'reached' | 'timeout' | number>} a number is YouTube's error code
   */
  #until(wanted, timeoutMs) {
    return new Promise((resolve) => {
      /** @param {'reached' | 'timeout' | number} outcome */
      const done = (outcome) => {
        clearTimeout(timer);
        this.waiting.delete(hear);
        resolve(outcome);
      };
      /** @param {{state?: number, error?: number}} event */
      const hear = (event) => {
        if (event.error !== undefined) done(event.error);
        else if (event.state !== undefined && wanted(event.state)) done('reached');
      };
      const timer = setTimeout(() => done('timeout'), timeoutMs);
      this.waiting.add(hear);
    });
  }
}

/** @param {number} code YouTube's */
function refusal(code) {
  switch (code) {
    case 2: return new PlayerError('YouTube does not know a video of that id.', { lasting: true });
    case 100: return new PlayerError('This video was removed from YouTube, or is private.', { lasting: true });
    case 101:
    case 150: return new PlayerError('The owner of this video does not allow it to be played outside YouTube.', { lasting: true });
    default: return new PlayerError('YouTube could not play this video here.');
  }
}
