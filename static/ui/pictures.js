import { artworkAddress } from './artwork.js';
import { h, keyed, setText } from './dom.js';

/** @typedef {import('../core/types.js').Song} Song */

const AVATAR_COLOURS = 8;

/**
 * A number that stays the same for a text, to choose colours by.
 * @param {string} text
 */
export function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return value >>> 0;
}

/**
 * The colour of a song that brings none: from violet over red to amber, so that it stays in the family.
 * @param {Song | null | undefined} song
 */
export function songHue(song) { return (265 + (hash(song?.title ?? 'Tutti') % 140)) % 360; }

/** @param {string} name */
export function initials(name) {
  // Every guest begins alike; what tells them apart comes after.
  const own = name.replace(/^Guest /, '');
  const parts = own.split(/[\s._-]+/).filter(Boolean);
  const letters = parts.length > 1 ? parts[0][0] + parts[1][0] : own.slice(0, 2);
  return letters.toUpperCase();
}

/** A round initialled picture; whoever shows it also writes the name. */
export function avatar(className = '') {
  const element = h('span', { class: `avatar ${className}`, 'aria-hidden': 'true' });
  return {
    element,
    /** @param {string} name */
    update(name) {
      setText(element, initials(name));
      element.dataset.colour = String(hash(name) % AVATAR_COLOURS);
    },
  };
}

const STACKED = 4;

/** A few people as one row of overlapping pictures. */
export function avatarStack() {
  const element = h('span', { class: 'stack', 'aria-hidden': 'true' });
  return {
    element,
    /** @param {{id: string, name: string}[]} people */
    update(people) {
      keyed(element, people.slice(0, STACKED), ({ id }) => id, () => {
        const picture = avatar();
        return { element: picture.element, update: ({ name }) => picture.update(name) };
      });
    },
  };
}

/** A cover; where the artwork is missing or does not load, a drawn one takes its place. */
export function cover(className = '') {
  const image = h('img', { alt: '', draggable: false, decoding: 'async' });
  const element = h('div', { class: `cover ${className}`, 'aria-hidden': 'true' }, image);
  let shown = '';
  image.addEventListener('error', () => { image.hidden = true; });
  image.addEventListener('load', () => { image.hidden = false; });
  return {
    element,
    image,
    /** @param {Song | null | undefined} song */
    update(song) {
      const source = song?.artwork_url ?? '';
      const key = `${source} ${song?.title ?? ''}`;
      if (key === shown) return;
      shown = key;
      element.classList.toggle('cover-empty', !song);
      element.style.setProperty('--cover-hue', String(songHue(song)));
      element.style.setProperty('--cover-turn', `${hash(key) % 360}deg`);
      image.hidden = true;
      image.removeAttribute('src');
      void artworkAddress(song).then((address) => { if (address && key === shown) image.src = address; });
    },
  };
}

/** @param {Song | null | undefined} song */
export function byline(song) { return song?.artists?.filter(Boolean).join(', ') ?? ''; }
