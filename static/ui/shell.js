import { h, setText } from './dom.js';
import { icon, wordmark } from './icons.js';
import { avatar, byline, cover } from './pictures.js';
import { isolated, setUserText } from './user-text.js';

/**
 * @typedef {'rooms' | 'friends' | 'room'} Place
 * @typedef {import('../app/storage.js').Device['theme']} Theme
 * @typedef {import('../core/types.js').Song} Song
 *
 * @typedef {object} ShellActions
 * @property {(place: Place) => void} go
 * @property {() => void} logOut
 * @property {() => void} account
 *
 * @typedef {object} ShellShown
 * @property {Place} place
 * @property {string} username
 * @property {number} requests
 * @property {boolean} moreRequests whether there are more of them
 * @property {string} connection words while it is not good, otherwise empty
 * @property {string} refusal why there will be none until somebody changes something, otherwise empty
 * @property {{title: string, song: Song | null, playing: boolean} | null} room the one this user is in
 */

/** @type {Theme[]} */
const THEMES = ['auto', 'light', 'dark'];
const THEME_NAMES = { auto: 'as the system', light: 'light', dark: 'dark' };
/** @type {Record<Theme, 'auto' | 'sun' | 'moon'>} */
const THEME_ICONS = { auto: 'auto', light: 'sun', dark: 'moon' };

/** A button that goes round the three themes. @param {(theme: Theme) => void} change @param {Theme} first */
export function themeToggle(change, first) {
  let theme = first;
  const button = h('button', { class: 'icon-button', type: 'button', testid: 'theme-toggle' });
  function show() {
    document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(THEME_ICONS[theme]));
    button.setAttribute('aria-label', `Colours: ${THEME_NAMES[theme]}`);
    button.title = `Colours: ${THEME_NAMES[theme]}`;
  }
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    change(theme);
    show();
  });
  show();
  return button;
}

/** The frame around every page after the log-in. @param {ShellActions} actions @param {HTMLElement[]} pages */
export function shell(actions, pages) {
  const rooms = navLink('rooms', 'Rooms', 'rooms', actions);
  const friends = navLink('friends', 'Friends', 'friends', actions);
  const badge = h('span', { class: 'nav-badge', testid: 'requests-badge', hidden: true });
  friends.append(badge);
  const picture = avatar();
  const name = h('span', { class: 'me-name', testid: 'me-username' });
  const me = h('button', { class: 'me', type: 'button', title: 'Your account', testid: 'account-open', onclick: actions.account }, picture.element, name);
  const connection = h('p', { class: 'connection', role: 'status', testid: 'connection-state', hidden: true });
  const refusal = h('p', { class: 'refusal', role: 'alert', testid: 'connection-refused', hidden: true });
  const dock = dockView(actions);
  const main = h('main', { id: 'main', class: 'main', tabIndex: -1 }, ...pages);
  const home = h('a', { class: 'brand', href: '/', 'aria-label': 'Tutti, to the rooms', testid: 'brand' }, wordmark('wordmark'));
  home.addEventListener('click', (event) => {
    event.preventDefault();
    actions.go('rooms');
  });

  const element = h('div', { class: 'shell' },
    h('a', { class: 'skip', href: '#main' }, 'To the content'),
    h('header', { class: 'bar' }, home,
      h('nav', { class: 'nav', 'aria-label': 'Pages' }, rooms, friends),
      h('div', { class: 'bar-end' },
        connection, me,
        h('span', { class: 'theme-slot' }),
        h('button', { class: 'icon-button', type: 'button', 'aria-label': 'Log out', title: 'Log out', testid: 'logout', onclick: actions.logOut }, icon('logout')))),
    refusal, main, dock.element);

  return {
    element,
    themeSlot: /** @type {HTMLElement} */ (element.querySelector('.theme-slot')),
    /** @param {ShellShown} next */
    update(next) {
      element.dataset.place = next.place;
      for (const [link, place] of /** @type {[HTMLElement, Place][]} */ ([[rooms, 'rooms'], [friends, 'friends']])) {
        if (next.place === place) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
      }
      badge.hidden = !next.requests;
      const requests = `${next.requests}${next.moreRequests ? '+' : ''}`;
      setText(badge, requests);
      friends.setAttribute('aria-label', next.requests ? `Friends, ${requests} asking` : 'Friends');
      picture.update(next.username || '?');
      setUserText(name, next.username);
      me.setAttribute('aria-label', `Your account, ${isolated(next.username)}`);
      connection.hidden = !next.connection;
      setText(connection, next.connection);
      refusal.hidden = !next.refusal;
      setText(refusal, next.refusal);
      dock.update(next.place === 'room' ? null : next.room);
    },
  };
}

/** @param {Place} place @param {string} label @param {'rooms' | 'friends'} drawing @param {ShellActions} actions */
function navLink(place, label, drawing, actions) {
  return h('button', { class: 'nav-link', type: 'button', testid: `nav-${place}`, onclick: () => actions.go(place) },
    icon(drawing), h('span', {}, label));
}

/** The room one is in, while looking at something else. @param {ShellActions} actions */
function dockView(actions) {
  const picture = cover('cover-small');
  const title = h('strong');
  const song = h('span', { class: 'soft' });
  const element = h('button', { class: 'dock', type: 'button', hidden: true, testid: 'dock', onclick: () => actions.go('room') },
    picture.element, h('span', { class: 'track-text' }, title, song), h('span', { class: 'dock-go' }, 'Back in'));
  return {
    element,
    /** @param {ShellShown['room']} room */
    update(room) {
      element.hidden = !room;
      if (!room) return;
      picture.update(room.song);
      setUserText(title, room.title);
      const by = byline(room.song);
      setText(song, room.song ? `${room.playing ? 'Playing' : 'Paused'}: ${isolated(room.song.title)}${by ? ` · ${isolated(by)}` : ''}` : 'Nothing playing yet');
      element.setAttribute('aria-label', `Back into ${isolated(room.title)}`);
    },
  };
}
