import { busy, h, setText } from './dom.js';
import { icon } from './icons.js';
import { confirmed } from './dialog.js';
import { peopleView } from './people.js';
import { byline, songHue } from './pictures.js';
import { songPicker } from './song-picker.js';
import { stageView } from './stage.js';
import { transportView, trimView } from './transport.js';
import { plain, setUserText } from './user-text.js';

/**
 * @typedef {import('../core/types.js').Song} Song
 * @typedef {import('./stage.js').Person} Person
 * @typedef {import('../player/conductor.js').View} MusicView
 *
 * @typedef {object} RoomPageActions
 * @property {import('./transport.js').TransportActions} transport
 * @property {import('./song-picker.js').PickerActions} picker
 * @property {() => void} unlock the listener taps: sound is allowed, and so is the host of the song if that was asked
 * @property {() => void} retry
 * @property {() => Promise<void>} copyLink
 * @property {() => Promise<void>} leave
 * @property {() => Promise<void>} close
 * @property {(person: Person) => Promise<void>} makeHost
 * @property {import('./people.js').PeopleActions['find']} find
 * @property {import('./people.js').PeopleActions['listMore']} listMore
 * @property {(error: unknown) => void} fail
 * @property {(song: Song) => string} keyOf
 *
 * @typedef {object} RoomShown
 * @property {string} title
 * @property {boolean} friendsOnly
 * @property {string} linkAudience whom the link works for
 * @property {Person[]} people
 * @property {number} count
 * @property {string} hostName
 * @property {MusicView} music
 * @property {Song[]} tracks
 */

/** @param {RoomPageActions} actions @param {import('../app/storage.js').Device} device */
export function roomPage(actions, device) {
  const title = h('h1', { class: 'room-title', testid: 'room-title', tabIndex: -1 });
  const kind = h('span', { class: 'badge', testid: 'room-kind' });
  const close = h('button', { class: 'button small quiet danger-text', type: 'button', testid: 'close-room' }, icon('close'), 'Close');
  const leave = h('button', { class: 'button small quiet', type: 'button', testid: 'leave-room' }, icon('leave'), 'Leave');
  const copy = h('button', { class: 'button small', type: 'button', 'aria-describedby': 'link-audience', testid: 'copy-link' }, icon('link'), 'Copy link');
  const audience = h('p', { class: 'soft link-audience', id: 'link-audience', testid: 'link-audience' });
  const stage = stageView(actions.transport.position);
  const songTitle = h('h2', { class: 'song-title', testid: 'song-title' });
  const artists = h('p', { class: 'song-artists', testid: 'song-artists' });
  const problem = h('div', { class: 'song-problem', role: 'alert', testid: 'song-error' });
  const retry = h('button', { class: 'button small', type: 'button', testid: 'retry-song', onclick: actions.retry }, 'Try again');
  const question = h('p', { class: 'tap-question', id: 'host-question', role: 'status', testid: 'host-question' });
  const unlockWords = h('span', {}, 'Tap to listen');
  const unlock = h('button', {
    class: 'button primary tap', type: 'button', hidden: true, testid: 'tap-to-listen', 'aria-describedby': 'host-question', onclick: actions.unlock,
  },
    icon('play'), unlockWords);
  const unlockBox = h('div', { class: 'tap-box' }, question, unlock);
  const transport = transportView(actions.transport, device);
  const people = peopleView(actions);
  const picker = songPicker(actions.picker);
  const trim = trimView(actions.transport, device);

  leave.addEventListener('click', () => busy(leave, actions.leave, actions.fail));
  copy.addEventListener('click', () => busy(copy, actions.copyLink, actions.fail));
  close.addEventListener('click', async () => {
    const sure = await confirmed({
      title: 'Close this room?', text: 'The music stops for everybody in it, and its link no longer leads anywhere.', yes: 'Close the room',
    });
    if (sure) await busy(close, actions.close, actions.fail);
  });

  const element = h('section', { class: 'room', 'aria-label': 'Room', testid: 'room-view' },
    h('header', { class: 'room-head' },
      h('div', { class: 'room-name' }, title, kind),
      h('div', { class: 'row' }, copy, leave, close),
      audience),
    h('div', { class: 'room-main' },
      h('div', { class: 'stage-box' }, stage.element, stage.frame, unlockBox),
      h('div', { class: 'now' }, songTitle, artists, h('div', { class: 'problem-row' }, problem, retry)),
      transport.element),
    h('div', { class: 'room-side' }, picker.element, people.element, trim.element));

  return {
    element,
    videoPlace: stage.frame,
    tick: transport.tick,
    measured: transport.measured,
    setTrim: trim.set,
    toggleMute: transport.toggleMute,
    focus() { title.focus({ preventScroll: true }); },
    /** @param {RoomShown} next */
    update(next) {
      const { music } = next;
      setUserText(title, next.title);
      title.title = plain(next.title);
      if (kind.dataset.kind !== String(next.friendsOnly)) {
        kind.dataset.kind = String(next.friendsOnly);
        kind.replaceChildren(icon(next.friendsOnly ? 'lock' : 'open'), next.friendsOnly ? 'Friends only' : 'Open to all');
      }
      setText(audience, next.linkAudience);
      close.hidden = !music.isHost;
      setUserText(songTitle, music.song?.title ?? (music.isHost ? 'What shall we hear?' : 'Nothing playing yet'));
      setUserText(artists, music.song ? byline(music.song) || (music.phase === 'loading' ? 'loading…' : '') : '');
      setText(problem, music.problem);
      retry.hidden = !music.problem;
      unlock.hidden = !music.blocked && !music.asks;
      setText(question, music.asks ? whoIsAsked(music.asks) : '');
      setText(unlockWords, music.asks ? `Tap to listen from ${music.asks.host}` : 'Tap to listen');
      picker.element.hidden = !music.isHost;
      element.classList.toggle('room-hosting', music.isHost);
      element.classList.toggle('room-loading', music.phase === 'loading');
      element.style.setProperty('--song-hue', String(songHue(music.song)));
      stage.update({ song: music.song, playing: music.playing && !music.blocked && music.phase === 'ready', people: next.people, count: next.count });
      transport.update(music, next.hostName);
      people.update(next.people, next.count, music.isHost);
      picker.update(next.tracks, music.song ? actions.keyOf(music.song) : '', actions.keyOf);
    },
  };
}

/** What a listener agrees to. @param {import('../player/contact.js').Contact} contact */
function whoIsAsked({ host, where }) {
  if (where === 'device') return `This song is on ${host}, your own device. If you listen, your browser asks what runs there for it.`;
  if (where === 'network') return `This song is on ${host}, a device in your own network. If you listen, your browser connects to it, and it sees your IP address.`;
  return `This song comes from ${host}. If you listen, that server sees your IP address. You are asked once for each server.`;
}
