import { calm, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { avatar, cover, hash } from './pictures.js';

/**
 * @typedef {import('../core/types.js').Song} Song
 * @typedef {{id: string, name: string, isHost: boolean, isSelf: boolean}} Person
 *
 * @typedef {object} StageShown
 * @property {Song | null} song
 * @property {boolean} playing
 * @property {Person[]} people
 * @property {number} count of all, more than are named in a crowd
 */

const SEATS = 9;
const BARS = 84;
const TURN_SECONDS = 24;

/**
 * The record everybody sits around. It turns, and its rays dance, by the position in the song alone, so the
 * picture is the same for everyone at every moment, like the sound.
 *
 * @param {() => number} position seconds
 */
export function stageView(position) {
  const canvas = h('canvas', { class: 'stage-rays' });
  const record = cover('record');
  const seats = h('div', { class: 'seats' });
  const frame = h('div', { class: 'video-place', testid: 'youtube', hidden: true });
  const element = h('div', { class: 'stage', 'aria-hidden': 'true' }, canvas,
    h('div', { class: 'disc' }, record.element, h('span', { class: 'grooves' }), h('span', { class: 'spindle' })), seats);
  /** @type {StageShown} */
  let shown = { song: null, playing: false, people: [], count: 0 };
  let seed = 1;
  let level = 0;
  let drawn = -1;

  function draw() {
    requestAnimationFrame(draw);
    if (!element.isConnected || element.offsetParent === null) return;
    const wanted = shown.playing ? 1 : 0;
    level += (wanted - level) * (calm.matches ? 1 : 0.06);
    const at = calm.matches ? 0 : position();
    // Standing still costs nothing.
    if (Math.abs(level - wanted) < 0.004 && at === drawn) return;
    drawn = at;
    record.element.style.transform = `rotate(${((at / TURN_SECONDS) * 360) % 360}deg)`;
    drawRays(canvas, at, level, seed);
  }
  requestAnimationFrame(draw);
  new ResizeObserver(() => { drawn = -1; }).observe(element);

  return {
    element,
    frame,
    /** @param {StageShown} next */
    update(next) {
      shown = next;
      seed = hash(next.song?.title ?? 'silence');
      drawn = -1;
      record.update(next.song);
      element.classList.toggle('stage-playing', next.playing);
      element.classList.toggle('stage-empty', !next.song);
      seat(seats, next.people, next.count);
    },
  };
}

/** @param {HTMLElement} seats @param {Person[]} people @param {number} count */
function seat(seats, people, count) {
  const rest = count > SEATS ? count - Math.min(people.length, SEATS - 1) : 0;
  /** @type {Person[]} */
  const shown = rest ? people.slice(0, SEATS - 1) : people;
  const all = rest ? [...shown, { id: 'rest', name: `+${rest}`, isHost: false, isSelf: false }] : shown;
  // From the top, where the host sits, evenly around.
  const seated = all.map((person, index) => ({ person, angle: (index / all.length) * 2 * Math.PI - Math.PI / 2 }));
  keyed(seats, seated, ({ person }) => person.id, () => {
    const picture = avatar();
    const crown = h('i', { class: 'seat-crown' }, icon('crown'));
    const element = h('span', { class: 'seat' }, picture.element, crown);
    return {
      element,
      /** @param {{person: Person, angle: number}} seated */
      update({ person, angle }) {
        element.style.setProperty('--x', Math.cos(angle).toFixed(4));
        element.style.setProperty('--y', Math.sin(angle).toFixed(4));
        element.classList.toggle('seat-self', person.isSelf);
        crown.hidden = !person.isHost;
        if (person.id === 'rest') setText(picture.element, person.name);
        else picture.update(person.name);
      },
    };
  });
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} at seconds
 * @param {number} level 0 at rest, 1 while playing
 * @param {number} seed the song's
 */
function drawRays(canvas, at, level, seed) {
  const context = canvas.getContext('2d');
  const size = canvas.clientWidth;
  if (!context || !size) return;
  const scale = Math.min(2, devicePixelRatio || 1);
  if (canvas.width !== Math.round(size * scale)) canvas.width = canvas.height = Math.round(size * scale);
  const style = getComputedStyle(canvas);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, size, size);
  context.translate(size / 2, size / 2);
  context.lineCap = 'round';
  context.lineWidth = Math.max(2, size / 150);
  context.strokeStyle = style.color;
  const inner = size * 0.328;
  const reach = size * 0.052;
  for (let bar = 0; bar < BARS; bar += 1) {
    // Few waves of unrelated pace around the circle: lively, never the same, and yet a function of `at`.
    const place = (bar / BARS) * 2 * Math.PI;
    const wave = Math.sin(at * 2.1 + place * 3 + (seed % 7)) * 0.5
      + Math.sin(at * 3.7 - place * 5 + (seed % 11)) * 0.3
      + Math.sin(at * 7.3 + place * 11) * 0.2;
    const swing = level * (0.12 + 0.88 * ((wave + 1) / 2) ** 1.6) * (0.85 + 0.15 * Math.cos(at * 11.2));
    const length = size * 0.006 + reach * swing;
    context.globalAlpha = Math.min(1, 0.3 + 0.9 * swing);
    context.beginPath();
    context.moveTo(Math.cos(place) * inner, Math.sin(place) * inner);
    context.lineTo(Math.cos(place) * (inner + length), Math.sin(place) * (inner + length));
    context.stroke();
  }
}
