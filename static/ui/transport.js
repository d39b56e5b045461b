import { clock, h, length, setText } from './dom.js';
import { icon } from './icons.js';
import { findLateness } from './lateness.js';
import { KEYS } from './room-keys.js';
import { isolated } from './user-text.js';

/**
 * @typedef {import('../player/conductor.js').View} MusicView
 * @typedef {import('../app/storage.js').Device} Device
 *
 * @typedef {object} TransportActions
 * @property {() => void} play
 * @property {() => void} pause
 * @property {(seconds: number) => void} seek
 * @property {() => number} position
 * @property {() => { position: number, moving: boolean }} heard what this device plays at this moment
 * @property {(change: Partial<Device>) => void} tune
 * @property {(quiet: boolean) => void} hush keeps the music quiet for as long as something else is to be heard
 */

const KEY_SEEK_MS = 250;
const CLOSE_MS = 60;
const END_S = 0.3;
/** What a host cannot do with this song. */
const REACH_WORDS = {
  anywhere: '',
  onward: 'The server of this song lets nobody jump to a place in it: you cannot either, and who comes in later hears the next song.',
  live: 'A station: it has no places to jump to.',
};

/** @param {TransportActions} actions @param {Device} device */
export function transportView(actions, device) {
  const now = h('span', { class: 'time', testid: 'time-current' }, '0:00');
  const total = h('span', { class: 'time', testid: 'time-total' }, '0:00');
  const seek = h('input', {
    type: 'range', class: 'slider seek', min: '0', max: '0', step: '1', value: '0', disabled: true,
    'aria-label': 'Position in the song', 'aria-keyshortcuts': KEYS.seek, 'aria-describedby': 'lead-hint', testid: 'seek',
  });
  const play = h('button', { class: 'play', type: 'button', disabled: true, 'aria-keyshortcuts': KEYS.play, 'aria-describedby': 'lead-hint', testid: 'play-pause' });
  const hint = h('p', { class: 'lead-hint soft', id: 'lead-hint', testid: 'host-hint' });
  const offset = offsetView();
  const volume = volumeView(actions, device);
  let playing = false;
  /** Seconds of the song. */
  let lasts = 0;
  let held = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let keyTimer;
  let byKey = false;

  play.addEventListener('click', () => (playing ? actions.pause() : actions.play()));
  seek.addEventListener('input', () => {
    held = true;
    show(Number(seek.value));
  });
  seek.addEventListener('keydown', () => { byKey = true; });
  seek.addEventListener('pointerdown', () => { byKey = false; });
  seek.addEventListener('change', () => {
    // Held arrow keys change the value many times a second; the room needs only the last.
    clearTimeout(keyTimer);
    const jump = () => {
      held = false;
      actions.seek(Number(seek.value));
    };
    if (byKey) keyTimer = setTimeout(jump, KEY_SEEK_MS);
    else jump();
    byKey = false;
  });

  /** @param {number} seconds */
  function show(seconds) {
    const max = Number(seek.max);
    // A song that is over has come to its length, not to the second before.
    const shown = max && seconds >= lasts - END_S ? length(lasts) : clock(seconds);
    setText(now, shown);
    seek.style.setProperty('--done', `${max ? Math.min(100, (seconds / max) * 100) : 0}%`);
    seek.setAttribute('aria-valuetext', `${shown} of ${length(lasts)}`);
  }

  const element = h('div', { class: 'transport', testid: 'transport' },
    h('div', { class: 'seek-row' }, now, seek, total),
    h('div', { class: 'play-row' }, volume.element, play, offset.element),
    hint);
  return {
    element,
    /** @param {MusicView} music @param {string} hostName */
    update(music, hostName) {
      const { isHost, song, phase } = music;
      playing = music.playing;
      const usable = isHost && phase === 'ready';
      const doing = playing ? 'Pause' : 'Play';
      play.disabled = !usable;
      if (play.dataset.doing !== doing) play.replaceChildren(icon(playing ? 'pause' : 'play'));
      play.dataset.doing = doing;
      play.dataset.playing = String(playing);
      play.setAttribute('aria-label', isHost ? doing : `${doing} (only the host can)`);
      seek.disabled = !usable || !music.duration || music.reach !== 'anywhere';
      lasts = music.duration ?? 0;
      seek.max = String(Math.floor(lasts));
      setText(total, music.reach === 'live' ? 'live' : music.duration ? length(music.duration) : '–:––');
      setText(hint, isHost
        ? (song ? REACH_WORDS[music.reach] : 'You lead this room. Choose something to play.')
        : `${isolated(hostName)} leads: play, pause and songs are up to them.`);
      hint.hidden = !hint.textContent;
      play.title = isHost ? `${doing} (Space or K; arrow keys go 5 seconds)` : hint.textContent ?? '';
      offset.update(music);
    },
    measured: offset.update,
    toggleMute: volume.toggle,
    tick() {
      const { position, moving } = actions.heard();
      Object.assign(element.dataset, { heard: position.toFixed(3), heardAt: Date.now(), moving });
      if (held) return;
      const seconds = actions.position();
      const whole = String(Math.floor(seconds));
      if (seek.value !== whole) seek.value = whole;
      show(seconds);
    },
  };
}

/** How far this device is from the room, said modestly. */
function offsetView() {
  const words = h('span');
  const element = h('p', { class: 'offset', testid: 'sync-offset' }, words);
  let alone = false;
  return {
    element,
    /** @param {MusicView} music */
    update(music) {
      const { offset, error, playing, phase, buffering, blocked, player, reach } = music;
      alone = music.alone ?? alone;
      const silent = phase !== 'ready' || !playing || blocked;
      const good = reach === 'live' || (error !== null && error < CLOSE_MS);
      element.dataset.state = silent ? 'silent' : buffering || !good ? 'wait' : 'good';
      element.dataset.player = player ?? '';
      element.dataset.ms = offset === null ? '' : (offset * 1000).toFixed(2);
      element.dataset.error = error === null ? '' : error.toFixed(2);
      setText(words, silent ? '' : syncWords({ ...music, alone }));
    },
  };
}

/** @param {MusicView} music of a room that plays */
function syncWords({ buffering, reach, rough, error, roomError, alone }) {
  if (buffering) return 'waiting for data…';
  if (reach === 'live') return 'live: each of you hears it as it arrives, some seconds apart';
  if (rough) return 'the place in this file is only roughly known';
  if (error === null) return 'finding the beat…';
  if (error >= CLOSE_MS) return `${Math.round(error)} ms off, catching up…`;
  if (alone) return `playing on without a connection, ±${atLeastOne(error)} ms`;
  return `in sync ±${atLeastOne(error)} ms${roomError === null ? '' : ` · room ±${atLeastOne(roomError)} ms`}`;
}

/** @param {number} ms */
function atLeastOne(ms) { return Math.max(1, Math.round(ms)); }

/** @param {TransportActions} actions @param {Device} device */
function volumeView(actions, device) {
  const mute = h('button', { class: 'icon-button', type: 'button', title: 'Mute on this device (M)', 'aria-keyshortcuts': KEYS.mute, testid: 'mute' });
  const slider = h('input', {
    type: 'range', class: 'slider volume', min: '0', max: '100', step: '1', value: String(Math.round(device.volume * 100)),
    'aria-label': 'Volume on this device', testid: 'volume',
  });
  let muted = device.muted;
  function show() {
    mute.replaceChildren(icon(muted ? 'muted' : 'volume'));
    mute.setAttribute('aria-pressed', String(muted));
    mute.setAttribute('aria-label', 'Mute on this device');
    slider.style.setProperty('--done', `${muted ? 0 : slider.value}%`);
  }
  function toggle() {
    muted = !muted;
    actions.tune({ muted });
    show();
    return muted;
  }
  mute.addEventListener('click', toggle);
  slider.addEventListener('input', () => {
    muted = false;
    actions.tune({ volume: Number(slider.value) / 100, muted });
    show();
  });
  show();
  return { element: h('div', { class: 'volume-box' }, mute, slider), toggle };
}

/**
 * For loudspeakers that are later than the browser knows (Bluetooth, televisions).
 * @param {TransportActions} actions @param {Device} device
 */
export function trimView(actions, device) {
  const value = h('output', { class: 'time', htmlFor: 'trim' });
  const slider = h('input', {
    type: 'range', class: 'slider', id: 'trim', min: '-500', max: '500', step: '5', value: String(device.trimMs), testid: 'trim',
  });
  function show() {
    setText(value, `${Number(slider.value) > 0 ? '+' : ''}${slider.value} ms`);
    slider.style.setProperty('--done', `${(Number(slider.value) + 500) / 10}%`);
  }
  /** @param {number} trimMs */
  function set(trimMs) {
    slider.value = String(trimMs);
    show();
  }
  slider.addEventListener('input', () => {
    actions.tune({ trimMs: Number(slider.value) });
    show();
  });
  const find = h('button', {
    class: 'button small', type: 'button', testid: 'find-lateness',
    onclick: () => findLateness({
      hush: actions.hush,
      use: (trimMs) => {
        actions.tune({ trimMs });
        set(trimMs);
      },
    }),
  }, icon('wave'), 'Find out');
  show();
  const element = h('details', { class: 'trim', testid: 'trim-panel' },
    h('summary', {}, icon('tune'), 'Loudspeaker late?'),
    h('p', { class: 'soft' }, 'Bluetooth boxes and televisions sound a little late. Play that much earlier through this one:'),
    h('label', { class: 'trim-row', htmlFor: 'trim' }, h('span', { class: 'unseen' }, 'Milliseconds earlier'), slider, value), find);
  return { element, set };
}
