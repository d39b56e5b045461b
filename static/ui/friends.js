import { busy, h, keyed, setText } from './dom.js';
import { confirmed } from './dialog.js';
import { icon } from './icons.js';
import { avatar } from './pictures.js';
import { isolated, setUserText, withUserText } from './user-text.js';

/**
 * @typedef {import('../core/types.js').Friend} Friend
 * @typedef {import('../core/types.js').FoundUser} FoundUser
 * @typedef {import('../core/types.js').FriendRequest} FriendRequest
 * @typedef {import('../core/types.js').PublicUser} PublicUser
 *
 * @typedef {object} FriendActions
 * @property {(text: string) => Promise<FoundUser[]>} search
 * @property {(user: PublicUser) => Promise<void>} ask
 * @property {(request: FriendRequest) => Promise<void>} accept
 * @property {(request: FriendRequest) => Promise<void>} reject
 * @property {(request: FriendRequest) => Promise<void>} withdraw
 * @property {(type: 'received' | 'sent') => Promise<void>} more shows more requests
 * @property {(friend: Friend) => Promise<void>} remove
 * @property {(roomId: string) => Promise<void>} join
 * @property {(error: unknown) => void} fail
 *
 * @typedef {{ requests: FriendRequest[], hasMore: boolean }} Requests pending ones, newest first, and whether there are others
 *
 * @typedef {object} FriendsShown
 * @property {Friend[]} friends
 * @property {Requests} received
 * @property {Requests} sent
 * @property {(roomId: string) => string} roomName
 * @property {string | null} currentRoom
 */

const TYPING_MS = 250;

/** @param {FriendActions} actions */
export function friendsView(actions) {
  /** @type {FriendsShown} */
  let shown = { friends: [], received: { requests: [], hasMore: false }, sent: { requests: [], hasMore: false }, roomName: () => 'a room', currentRoom: null };
  const search = searchBox(actions, () => shown);
  const received = section('Asking to be friends', 'requests-received', { more: () => actions.more('received'), fail: actions.fail },
    'Is somebody missing? Search for their username above: whoever asked you can be accepted there as well.');
  const friends = section('Friends', 'friends-list');
  const sent = section('Waiting for an answer', 'requests-sent', { more: () => actions.more('sent'), fail: actions.fail });
  const lonely = h('div', { class: 'empty', testid: 'friends-empty', hidden: true },
    h('span', { class: 'places', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')),
    h('p', {}, 'Just you, so far. Search for a friend’s username above: music is better shared.'));

  return {
    element: h('section', { class: 'panel friends', 'aria-label': 'Friends', testid: 'friends-view' },
      h('h1', { class: 'friends-title' }, 'Who is around?'), search.element, received.element, lonely, friends.element, sent.element),
    /** @param {FriendsShown} next */
    update(next) {
      shown = next;
      const ordered = [...next.friends].sort(byPresence);
      received.show(next.received.requests.length, next.received.hasMore);
      sent.show(next.sent.requests.length, next.sent.hasMore);
      friends.show(next.friends.length);
      lonely.hidden = next.friends.length + next.received.requests.length + next.sent.requests.length > 0;
      keyed(received.list, next.received.requests, (request) => request.request_id, (request) => requestRow(request, actions));
      keyed(friends.list, ordered, (friend) => friend.user_id, (friend) => friendRow(friend, actions, () => shown));
      keyed(sent.list, next.sent.requests, (request) => request.request_id, (request) => sentRow(request, actions));
      search.refresh();
    },
    focus() { search.focus(); },
  };
}

/** Those one could join first, then those who are there. @param {Friend} a @param {Friend} b */
function byPresence(a, b) {
  const rank = (/** @type {Friend} */ friend) => (friend.room_id ? 0 : friend.online ? 1 : 2);
  return rank(a) - rank(b) || a.username.localeCompare(b.username);
}

/**
 * @param {string} title
 * @param {string} testid
 * @param {{more: () => Promise<void>, fail: (error: unknown) => void}} [actions] where there may be more than are shown
 * @param {string} [hint] said then
 */
function section(title, testid, actions, hint = '') {
  const count = h('span', { class: 'count' });
  const list = h('ul', { class: 'people-list', testid });
  const more = h('button', { class: 'button small', type: 'button', testid: `${testid}-more` }, 'Show more');
  const rest = h('p', { class: 'row soft', hidden: true }, hint ? h('span', {}, hint) : null, more);
  if (actions) more.addEventListener('click', () => busy(more, actions.more, actions.fail));
  const element = h('div', { class: 'section' }, h('h2', {}, title, ' ', count), list, rest);
  return {
    element, list,
    /** @param {number} size @param {boolean} [hasMore] */
    show(size, hasMore = false) {
      element.hidden = size === 0;
      rest.hidden = !hasMore;
      setText(count, size ? `${size}${hasMore ? '+' : ''}` : '');
    },
  };
}

/** @param {PublicUser} user */
function nameLines(user) {
  return h('span', { class: 'person-name' },
    withUserText(h('strong'), user.username),
    user.name ? withUserText(h('span', { class: 'soft' }), user.name) : null);
}

/** @param {FriendActions} actions @param {() => FriendsShown} shown */
function searchBox(actions, shown) {
  const results = h('ul', { class: 'people-list results', testid: 'search-results' });
  const note = h('p', { class: 'soft', role: 'status', testid: 'search-note' });
  const input = h('input', {
    id: 'friend-search', type: 'search', placeholder: 'Find someone by username', autocomplete: 'off',
    autocapitalize: 'none', spellcheck: false, maxLength: 64, testid: 'friend-search',
    'aria-label': 'Find someone by username',
  });
  let timer = 0;
  let asked = 0;

  async function look() {
    const text = input.value.trim();
    const turn = ++asked;
    if (!text) return show([], '');
    try {
      const users = await actions.search(text);
      // Answers may overtake each other; the last letter typed counts.
      if (turn === asked) show(users, users.length ? '' : `Nobody is called “${isolated(text)}”.`);
    } catch (error) {
      if (turn === asked) actions.fail(error);
    }
  }
  /** @type {FoundUser[]} */
  let found = [];
  /** @param {FoundUser[]} users @param {string} words */
  function show(users, words) {
    found = users;
    setText(note, words);
    refresh();
  }
  /** What was found is what the lists say it is, which the others may have changed meanwhile. */
  function refresh() {
    const users = found.map((user) => ({ ...user, relationship: relationOf(user, shown()) }));
    keyed(results, users, (user) => user.user_id, (user) => resultRow(user, actions, shown, look));
  }
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(look, TYPING_MS);
  });
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    input.value = '';
    void look();
  });
  return {
    element: h('div', { class: 'search', role: 'search' }, h('div', { class: 'search-box' }, icon('search'), input), note, results),
    focus: () => input.focus(),
    refresh,
  };
}

/** @param {FoundUser} user @param {FriendsShown} shown @returns {FoundUser['relationship']} */
function relationOf({ user_id: id, relationship }, { friends, received, sent }) {
  if (friends.some((friend) => friend.user_id === id)) return 'friend';
  if (received.requests.some(({ sender }) => sender.user_id === id)) return 'request_received';
  if (sent.requests.some(({ receiver }) => receiver.user_id === id)) return 'request_sent';
  // Of requests that are not shown, only the search knows.
  if (relationship === 'request_received' && received.hasMore) return relationship;
  if (relationship === 'request_sent' && sent.hasMore) return relationship;
  return 'none';
}

/** @param {FoundUser} first @param {FriendActions} actions @param {() => FriendsShown} shown @param {() => Promise<void>} again */
function resultRow(first, actions, shown, again) {
  let user = first;
  const picture = avatar();
  picture.update(first.username);
  const state = h('span', { class: 'soft', testid: 'relationship' });
  const button = h('button', { class: 'button small', type: 'button', testid: 'send-request' });
  button.addEventListener('click', () => busy(button, async () => {
    const request = shown().received.requests.find(({ sender }) => sender.user_id === user.user_id);
    if (user.relationship === 'request_received' && request) await actions.accept(request);
    else await actions.ask(user);
    await again();
  }, actions.fail));
  return {
    element: h('li', { class: 'person', testid: 'search-result', 'data-username': first.username },
      picture.element, nameLines(first), state, button),
    /** @param {FoundUser} next */
    update(next) {
      user = next;
      const open = next.relationship === 'none' || next.relationship === 'request_received';
      button.hidden = !open;
      setText(button, next.relationship === 'none' ? 'Ask' : 'Accept');
      button.setAttribute('aria-label', next.relationship === 'none'
        ? `Ask ${isolated(next.username)} to be friends` : `Accept ${isolated(next.username)} as a friend`);
      setText(state, next.relationship === 'friend' ? 'Friend' : next.relationship === 'request_sent' ? 'Asked' : '');
    },
  };
}

/** @param {FriendRequest} request @param {FriendActions} actions */
function requestRow(request, actions) {
  const { sender } = request;
  const picture = avatar();
  picture.update(sender.username);
  const accept = h('button', { class: 'button small primary', type: 'button', testid: 'accept-request', 'aria-label': `Accept ${isolated(sender.username)}` }, 'Accept');
  const reject = h('button', { class: 'button small quiet', type: 'button', testid: 'reject-request', 'aria-label': `Decline ${isolated(sender.username)}` }, 'Decline');
  accept.addEventListener('click', () => busy(accept, () => actions.accept(request), actions.fail));
  reject.addEventListener('click', () => busy(reject, () => actions.reject(request), actions.fail));
  return {
    element: h('li', { class: 'person person-asking', testid: 'request-received', 'data-username': sender.username },
      picture.element, nameLines(sender), h('span', { class: 'row' }, accept, reject)),
    update() {},
  };
}

/** @param {FriendRequest} request @param {FriendActions} actions */
function sentRow(request, actions) {
  const { receiver } = request;
  const picture = avatar();
  picture.update(receiver.username);
  const withdraw = h('button', { class: 'button small quiet', type: 'button', testid: 'withdraw-request', 'aria-label': `Take back your request to ${isolated(receiver.username)}` }, 'Take back');
  withdraw.addEventListener('click', () => busy(withdraw, () => actions.withdraw(request), actions.fail));
  return {
    element: h('li', { class: 'person', testid: 'request-sent', 'data-username': receiver.username },
      picture.element, nameLines(receiver), withdraw),
    update() {},
  };
}

/** @param {Friend} first @param {FriendActions} actions @param {() => FriendsShown} shown */
function friendRow(first, actions, shown) {
  let friend = first;
  const picture = avatar();
  const name = h('strong');
  const status = h('span', { class: 'soft status', testid: 'friend-status' });
  const join = h('button', { class: 'button small primary', type: 'button', testid: 'join-friend' }, 'Join');
  const remove = h('button', { class: 'icon-button faint', type: 'button', testid: 'remove-friend' }, icon('close'));
  join.addEventListener('click', () => busy(join, async () => {
    if (friend.room_id) await actions.join(friend.room_id);
  }, actions.fail));
  remove.addEventListener('click', async () => {
    const sure = await confirmed({
      title: `Remove ${isolated(friend.username)}?`,
      text: 'You will no longer see each other, or get into each other’s friends-only rooms.',
      yes: 'Remove',
    });
    if (sure) await busy(remove, () => actions.remove(friend), actions.fail);
  });
  const element = h('li', { class: 'person', testid: 'friend' },
    h('span', { class: 'avatar-spot' }, picture.element, h('i', { class: 'presence' })),
    h('span', { class: 'person-name' }, name, status),
    join, remove);
  return {
    element,
    /** @param {Friend} next */
    update(next) {
      friend = next;
      const { currentRoom, roomName } = shown();
      const here = next.room_id !== null && next.room_id === currentRoom;
      picture.update(next.username);
      setUserText(name, next.username);
      element.dataset.username = next.username;
      element.dataset.online = String(next.online);
      join.hidden = !next.room_id || here;
      join.setAttribute('aria-label', `Join ${isolated(next.username)}`);
      remove.setAttribute('aria-label', `Remove ${isolated(next.username)} from your friends`);
      setText(status, here ? 'Here with you' : next.room_id ? `In ${roomName(next.room_id)}` : next.online ? 'Online' : 'Offline');
    },
  };
}
