import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { byline, cover } from './pictures.js';
import { length } from './dom.js';
import { withUserText } from './user-text.js';

/**
 * @typedef {import('../core/types.js').Song} Song
 *
 * @typedef {object} PickerActions
 * @property {(song: Song) => void} choose
 * @property {(text: string) => Song} parse throws an error whose message is meant for the host
 */

/** Where the host finds something to play. @param {PickerActions} actions */
export function songPicker(actions) {
  const list = h('ul', { class: 'tracks', testid: 'tracks' });
  const input = h('input', {
    id: 'song-link', type: 'text', inputMode: 'url', placeholder: 'https://… or a YouTube link', autocomplete: 'off',
    autocapitalize: 'none', spellcheck: false, maxLength: 2000, testid: 'song-link', 'aria-describedby': 'song-link-fault',
  });
  const fault = h('p', { class: 'field-fault', id: 'song-link-fault', role: 'alert', testid: 'song-link-error' });
  const button = h('button', { class: 'button', type: 'submit', testid: 'play-link' }, 'Play it');
  const form = h('form', {
    class: 'link-form', noValidate: true, testid: 'song-link-form',
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      setText(fault, '');
      void busy(button, () => {
        actions.choose(actions.parse(input.value));
        input.value = '';
      }, (error) => setText(fault, error instanceof Error ? error.message : 'That link cannot be played.'));
    },
  },
  h('div', { class: 'field grow' },
    h('label', { htmlFor: 'song-link' }, 'A link to an audio file, or to YouTube'),
    h('div', { class: 'joined' }, input, button), fault));
  const element = h('section', { class: 'panel picker', 'aria-labelledby': 'picker-title', testid: 'song-picker' },
    h('h2', { id: 'picker-title' }, 'Choose the music'), list, form);

  return {
    element,
    /** @param {Song[]} tracks @param {string} current the key of the song that is on @param {(song: Song) => string} keyOf */
    update(tracks, current, keyOf) {
      list.hidden = !tracks.length;
      keyed(list, tracks, keyOf, (track) => trackRow(track, actions, () => current, keyOf));
      for (const row of list.children) {
        const on = row instanceof HTMLElement && row.dataset.key === current;
        row.classList.toggle('track-on', on);
        if (on) row.firstElementChild?.setAttribute('aria-current', 'true');
        else row.firstElementChild?.removeAttribute('aria-current');
      }
    },
  };
}

/** @param {Song} track @param {PickerActions} actions @param {() => string} current @param {(song: Song) => string} keyOf */
function trackRow(track, actions, current, keyOf) {
  const picture = cover('cover-small');
  picture.update(track);
  const button = h('button', {
    class: 'track', type: 'button', testid: 'track', 'data-audio-url': track.audio_url, 'data-title': track.title,
    onclick: () => actions.choose(track),
  },
  picture.element,
  h('span', { class: 'track-text' }, withUserText(h('strong'), track.title), withUserText(h('span', { class: 'soft' }), byline(track))),
  h('span', { class: 'time' }, track.duration ? length(track.duration) : ''),
  h('span', { class: 'track-mark' }, icon('wave')));
  return { element: h('li', { 'data-key': keyOf(track) }, button), update() {} };
}
