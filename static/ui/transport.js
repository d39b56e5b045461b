import { clock, h, setText } from './dom.js';
import { icon } from './icons.js';

/**
 * @typedef {import('../player/conductor.js').View} MusicView
 * @typedef {import('../app/storage.js').Device} Device
 *
 * @typedef {object} TransportActions
 * @property {() => void} play
 * @property {() => void} pause
 * @property {(seconds: number) => void} seek
 * @property {() => number} position
 * @property {(change: Partial<Device>) => void} tune
 */

const KEY_SEEK_MS = 250;
const OFFSET_KEPT_MS = 4000;

/** @param {TransportActions} actions @param {Device} device */
export function transportView(actions, device) {
  const now = h('span', { class: 'time', testid: 'time-current' }, '0:00');
  const total = h('span', { class: 'time', testid: 'time-total' }, '0:00');
  const seek = h('input', {
    type: 'range', class: 'slider seek', min: '0', max: '0', step: '1', value: '0', disabled: true,
    'aria-label': 'Position in the song', 'aria-describedby': 'lead-hint', testid: 'seek',
  });
  const play = h('button', { class: 'play', type: 'button', disabled: true, 'aria-describedby': 'lead-hint', testid: 'play-pause' });
  const hint = h('p', { class: 'lead-hint soft', id: 'lead-hint', testid: 'host-hint' });
  const offset = offsetView();
  let playing = false;
  let held = false;
  let keyTimer = 0;

  play.addEventListener('click', () => (playing ? actions.pause() : actions.play()));
  seek.addEventListener('input', () => {
    held = true;
    show(Number(seek.value));
  });
  seek.addEventListener('change', () => {
    // Held arrow keys change the value many times a second; the room needs only the last.
    clearTimeout(keyTimer);
    keyTimer = setTimeout(() => {
      held = false;
      actions.seek(Number(seek.value));
    }, KEY_SEEK_MS);
  });

  /** @param {number} seconds */
  function show(seconds) {
    setText(now, clock(seconds));
    const max = Number(seek.max);
    seek.style.setProperty('--done', `${max ? Math.min(100, (seconds / max) * 100) : 0}%`);
    seek.setAttribute('aria-valuetext', `${clock(seconds)} of ${clock(max)}`);
  }

  return {
    element: h('div', { class: 'transport' },
      h('div', { class: 'seek-row' }, now, seek, total),
      h('div', { class: 'play-row' }, volumeView(actions, device), play, offset.element),
      hint),
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
      seek.disabled = !usable || !music.duration;
      seek.max = String(Math.floor(music.duration ?? 0));
      setText(total, music.duration ? clock(music.duration) : '–:––');
      setText(hint, isHost
        ? (song ? '' : 'You lead this room. Choose something to play.')
        : `${hostName} leads: play, pause and songs are up to them.`);
      hint.hidden = !hint.textContent;
      play.title = isHost ? doing : hint.textContent ?? '';
      offset.update(music);
    },
    measured: offset.update,
    tick() {
      if (held) return;
      const seconds = actions.position();
      const whole = String(Math.floor(seconds));
      if (seek.value !== whole) seek.value = whole;
      show(seconds);
    },
  };
}

/** This device's own distance from the room, said modestly. */
function offsetView() {
  const element = h('p', { class: 'offset', testid: 'sync-offset' });
  /** @type {{at: number, size: number}[]} */
  let measured = [];
  /** @type {number | null} */
  let last = null;
  return {
    element,
    /** @param {MusicView} music */
    update({ offset, playing, phase, buffering, blocked }) {
      const time = performance.now();
      measured = measured.filter(({ at }) => time - at < OFFSET_KEPT_MS);
      // Null: the room has jumped, and what was measured before says nothing about now.
      if (offset === null) measured = [];
      else if (offset !== last) measured.push({ at: time, size: Math.abs(offset) * 1000 });
      last = offset;
      const silent = phase !== 'ready' || !playing || blocked;
      const typical = measured.map(({ size }) => size).sort((a, b) => a - b)[measured.length >> 1];
      const close = typical !== undefined && typical < 60;
      element.dataset.state = silent ? 'silent' : buffering ? 'wait' : close ? 'good' : 'wait';
      setText(element, silent ? ''
        : buffering ? 'waiting for data…'
          : typical === undefined ? 'finding the beat…'
            : close ? `in sync ±${Math.max(1, Math.round(typical))} ms`
              : `${Math.round(typical)} ms off, catching up…`);
    },
  };
}

/** @param {TransportActions} actions @param {Device} device */
function volumeView(actions, device) {
  const mute = h('button', { class: 'icon-button', type: 'button', testid: 'mute' });
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
  mute.addEventListener('click', () => {
    muted = !muted;
    actions.tune({ muted });
    show();
  });
  slider.addEventListener('input', () => {
    muted = false;
    actions.tune({ volume: Number(slider.value) / 100, muted });
    show();
  });
  show();
  return h('div', { class: 'volume-box' }, mute, slider);
}

/**
 * For loudspeakers that are late by themselves (Bluetooth): nothing in the browser can measure them.
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
  slider.addEventListener('input', () => {
    actions.tune({ trimMs: Number(slider.value) });
    show();
  });
  show();
  return h('details', { class: 'trim', testid: 'trim-panel' },
    h('summary', {}, icon('tune'), 'Loudspeaker late?'),
    h('p', { class: 'soft' }, 'Bluetooth boxes and televisions sound a little late. Play that much earlier on this device:'),
    h('label', { class: 'trim-row', htmlFor: 'trim' }, h('span', { class: 'unseen' }, 'Milliseconds earlier'), slider, value));
}
