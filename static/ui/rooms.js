import { busy, h, keyed, setText } from './dom.js';
import { formView } from './form.js';
import { icon } from './icons.js';
import { avatarStack, byline, cover } from './pictures.js';
import { isolated, isVisible, plain, setUserText } from './user-text.js';

/**
 * @typedef {import('../core/types.js').Room} Room
 *
 * @typedef {object} RoomActions
 * @property {(plan: {name: string, friendsOnly: boolean, maxParticipants: number | undefined}) => Promise<boolean>} create false where the user would rather stay
 * @property {(roomId: string) => Promise<void>} join
 * @property {(error: unknown) => void} fail
 * @property {import('./form.js').Explain} explain
 *
 * @typedef {object} RoomsShown
 * @property {Room[]} own rooms this user is in
 * @property {Room[]} friends rooms of friends, open to this user
 * @property {(userId: string) => string} nameOf
 * @property {string} greeting
 * @property {string | null} currentRoom
 */

/** More than a card has pictures for. */
const STACKED = 8;

/** @param {RoomActions} actions */
export function roomsView(actions) {
  /** @type {RoomsShown} */
  let shown = { own: [], friends: [], nameOf: (id) => id, greeting: '', currentRoom: null };
  const greeting = h('h1', { class: 'greeting', testid: 'greeting' });
  const own = shelf('You are in', 'own-rooms');
  const friends = shelf('Friends are listening', 'friend-rooms');
  const quiet = h('div', { class: 'empty-shelf', testid: 'rooms-empty' },
    h('span', { class: 'waiting', 'aria-hidden': 'true' }, h('span', { class: 'vinyl' }), h('i'), h('i')),
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
  const friendsOnly = h('input', { type: 'checkbox', id: 'room-friends-only', checked: true, role: 'switch', testid: 'room-friends-only' });
  const button = h('button', { class: 'button primary', type: 'submit', testid: 'create-room' }, icon('plus'), 'Open a room');
  const form = formView('create-room', [
    { name: 'name', label: 'A room for…', testid: 'room-name', more: { required: false, maxLength: 100, placeholder: 'Sunday slow dance' } },
    {
      name: 'max_participants', label: 'For how many people?', testid: 'room-max', hint: 'Left empty: a thousand.',
      more: { required: false, inputMode: 'numeric', maxLength: 12, oninput: digitsOnly },
    },
  ], {
    className: 'new-room',
    button,
    explain: (error, fields) => {
      const complaint = actions.explain(error, fields);
      if (complaint.fields.has('max_participants')) unfold(true);
      return complaint;
    },
    submit: async ({ name: title, max_participants: limit }) => {
      const plan = { name: title, friendsOnly: friendsOnly.checked, maxParticipants: limit ? Number(limit) : undefined };
      if (!await actions.create(plan)) return;
      form.clear();
      unfold(false);
    },
  });
  const [name, most] = form.fields;
  const more = h('button', {
    class: 'button ghost more', type: 'button', 'aria-controls': 'room-more', testid: 'room-more',
    onclick: () => {
      unfold(more.getAttribute('aria-expanded') !== 'true');
      if (!most.element.hidden) most.input.focus();
    },
  }, 'More', icon('down'));
  /** @param {boolean} open */
  function unfold(open) {
    most.element.hidden = !open;
    more.setAttribute('aria-expanded', String(open));
  }
  name.element.classList.add('grow');
  most.element.id = 'room-more';
  unfold(false);
  form.element.append(name.element,
    h('label', { class: 'switch', htmlFor: 'room-friends-only' }, friendsOnly, h('span', { class: 'switch-track' }), 'Friends only'),
    more, most.element, button, form.problem);
  return form.element;
}

/** @param {Event} event */
function digitsOnly({ target }) {
  const input = /** @type {HTMLInputElement} */ (target);
  // Only where there is something to take away: setting a value moves the cursor.
  if (/\D/.test(input.value)) input.value = input.value.replace(/\D/g, '');
}

/** @param {Room} first @param {string} place @param {RoomActions} actions @param {() => RoomsShown} shown */
function roomCard(first, place, actions, shown) {
  let room = first;
  const sleeve = cover();
  const title = h('strong', { class: 'card-title' });
  const song = h('span', { class: 'card-song' });
  const by = h('span', { class: 'soft' });
  const crowd = avatarStack();
  const count = h('span', { class: 'soft card-count' });
  const button = h('button', { class: 'button small', type: 'button', testid: 'join-room' });
  button.addEventListener('click', () => busy(button, () => actions.join(room.room_id), actions.fail));
  const element = h('li', { class: 'card', testid: `${place}-room`, 'data-room-id': first.room_id },
    h('div', { class: 'sleeve', 'aria-hidden': 'true' }, h('span', { class: 'vinyl' }), sleeve.element),
    h('div', { class: 'card-text' }, title, song, by),
    h('div', { class: 'card-foot' }, crowd.element, count, button));
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
      setUserText(title, name);
      crowd.update(next.participants.slice(0, STACKED).map((id) => ({ id, name: nameOf(id) })));
      setText(count, company(next.participant_count, nameOf(next.host_id)));
      setUserText(song, next.current_song?.title ?? 'Nothing playing yet');
      setUserText(by, byline(next.current_song));
      setText(button, here ? 'Back in' : place === 'own' ? 'Go in' : 'Join');
      button.classList.toggle('primary', !here);
      button.setAttribute('aria-label', `${here ? 'Back into' : 'Join'} ${isolated(name)}`);
    },
  };
}

/** @param {{name: string | null, host_id: string}} room @param {(userId: string) => string} nameOf */
export function roomTitle({ name, host_id: host }, nameOf) {
  // Rooms of earlier versions may be called by blanks.
  return name && isVisible(name) ? plain(name) : `${isolated(nameOf(host))}’s room`;
}

/** @param {number} count @param {string} host */
function company(count, host) {
  return count === 0 ? 'Nobody in it' : count === 1 ? plain(host) : `${isolated(host)} and ${count - 1} more`;
}
