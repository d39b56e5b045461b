import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { byline, cover } from './pictures.js';

/**
 * @typedef {import('../core/types.js').Room} Room
 *
 * @typedef {object} RoomActions
 * @property {(name: string, friendsOnly: boolean) => Promise<void>} create
 * @property {(roomId: string) => Promise<void>} join
 * @property {(error: unknown) => void} fail
 *
 * @typedef {object} RoomsShown
 * @property {Room[]} own rooms this user is in
 * @property {Room[]} friends rooms of friends, open to this user
 * @property {(userId: string) => string} nameOf
 * @property {string} greeting
 * @property {string | null} currentRoom
 */

/** @param {RoomActions} actions */
export function roomsView(actions) {
  /** @type {RoomsShown} */
  let shown = { own: [], friends: [], nameOf: (id) => id, greeting: '', currentRoom: null };
  const greeting = h('h1', { class: 'greeting', testid: 'greeting' });
  const own = shelf('You are in', 'own-rooms');
  const friends = shelf('Friends are listening', 'friend-rooms');
  const quiet = h('div', { class: 'empty-shelf', testid: 'rooms-empty' },
    h('p', {}, 'It is quiet right now.'),
    h('p', { class: 'soft' }, 'Open a room, choose a song, and send the link to someone who should hear it.'));
  /** @param {string} place */
  const create = (place) => (/** @type {Room} */ room) => roomCard(room, place, actions, () => shown);

  return {
    element: h('section', { class: 'rooms', 'aria-label': 'Rooms', testid: 'rooms-view' },
      greeting, newRoom(actions), own.element, friends.element, quiet),
    /** @param {RoomsShown} next */
    update(next) {
      shown = next;
      setText(greeting, next.greeting);
      own.element.hidden = !next.own.length;
      friends.element.hidden = !next.friends.length;
      quiet.hidden = next.own.length + next.friends.length > 0;
      keyed(own.list, next.own, (room) => room.room_id, create('own'));
      keyed(friends.list, next.friends, (room) => room.room_id, create('friend'));
    },
  };
}

/** @param {string} title @param {string} testid */
function shelf(title, testid) {
  const list = h('ul', { class: 'shelf', testid });
  return { list, element: h('div', { class: 'section' }, h('h2', {}, title), list) };
}

/** @param {RoomActions} actions */
function newRoom(actions) {
  const name = h('input', {
    id: 'room-name', type: 'text', maxLength: 100, placeholder: 'Sunday slow dance', autocomplete: 'off', testid: 'room-name',
  });
  const friendsOnly = h('input', { type: 'checkbox', id: 'room-friends-only', checked: true, role: 'switch', testid: 'room-friends-only' });
  const button = h('button', { class: 'button primary', type: 'submit', testid: 'create-room' }, icon('plus'), 'Open a room');
  return h('form', {
    class: 'new-room', noValidate: true, testid: 'create-room-form',
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void busy(button, async () => {
        await actions.create(name.value.trim(), friendsOnly.checked);
        name.value = '';
      }, actions.fail);
    },
  },
  h('div', { class: 'field grow' }, h('label', { htmlFor: 'room-name' }, 'A room for…'), name),
  h('label', { class: 'switch', htmlFor: 'room-friends-only' }, friendsOnly, h('span', { class: 'switch-track' }), 'Friends only'),
  button);
}

/** @param {Room} first @param {string} place @param {RoomActions} actions @param {() => RoomsShown} shown */
function roomCard(first, place, actions, shown) {
  let room = first;
  const sleeve = cover();
  const title = h('strong', { class: 'card-title' });
  const who = h('span', { class: 'soft' });
  const song = h('span', { class: 'card-song' });
  const button = h('button', { class: 'button small', type: 'button', testid: 'join-room' });
  button.addEventListener('click', () => busy(button, () => actions.join(room.room_id), actions.fail));
  const element = h('li', { class: 'card', testid: `${place}-room`, 'data-room-id': first.room_id },
    h('div', { class: 'sleeve', 'aria-hidden': 'true' }, h('span', { class: 'vinyl' }), sleeve.element),
    h('div', { class: 'card-text' }, title, who, song),
    button);
  return {
    element,
    /** @param {Room} next */
    update(next) {
      room = next;
      const { nameOf, currentRoom } = shown();
      const here = next.room_id === currentRoom;
      const name = roomTitle(next, nameOf);
      sleeve.update(next.current_song);
      element.classList.toggle('card-playing', next.playback_state.playing);
      setText(title, name);
      setText(who, `${people(next.participant_count)} · ${nameOf(next.host_id)} leads`);
      const line = byline(next.current_song);
      setText(song, next.current_song ? next.current_song.title + (line ? ` · ${line}` : '') : 'Nothing playing yet');
      setText(button, here ? 'Back in' : place === 'own' ? 'Go in' : 'Join');
      button.classList.toggle('primary', !here);
      button.setAttribute('aria-label', `${here ? 'Back into' : 'Join'} ${name}`);
    },
  };
}

/** @param {{name: string | null, host_id: string}} room @param {(userId: string) => string} nameOf */
export function roomTitle(room, nameOf) { return room.name || `${nameOf(room.host_id)}’s room`; }

/** @param {number} count */
export function people(count) {
  return count === 0 ? 'Nobody in it' : count === 1 ? '1 person' : `${count} people`;
}
