import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { avatar } from './pictures.js';
import { isolated, plain, setUserText } from './user-text.js';

/** @typedef {import('./stage.js').Person} Person */

/** From so many on a list is looked through, not read. */
const MANY = 13;
const TYPING_MS = 250;

/**
 * @typedef {object} PeopleActions
 * @property {(person: Person) => Promise<void>} makeHost
 * @property {(text: string) => Promise<boolean>} find has those shown whose names contain the text; false where there may be more of them
 * @property {() => Promise<void>} listMore has more people shown
 * @property {(error: unknown) => void} fail
 */

/** Who is in the room. @param {PeopleActions} actions */
export function peopleView(actions) {
  /** @type {{people: Person[], count: number, amHost: boolean}} */
  let shown = { people: [], count: 0, amHost: false };
  const title = h('h2', { id: 'people-title' });
  const list = h('ul', { class: 'people-list', 'aria-labelledby': 'people-title', testid: 'participants' });
  const rest = h('span', { testid: 'people-rest' });
  const more = h('button', { class: 'button small', type: 'button', testid: 'people-more' }, 'Show more');
  const restRow = h('p', { class: 'row soft', hidden: true }, rest, more);
  const alone = h('p', { class: 'soft alone' }, 'It is better with someone. Copy the link to this room and send it to them.');
  const note = h('p', { class: 'soft', role: 'status', testid: 'people-note' });
  const input = h('input', {
    type: 'search', placeholder: 'Find someone in the room', 'aria-label': 'Find someone in the room', autocomplete: 'off',
    autocapitalize: 'none', spellcheck: false, maxLength: 64, testid: 'people-search',
  });
  const search = h('div', { class: 'search-box', role: 'search', hidden: true }, icon('search'), input);

  let timer = 0;
  let asked = 0;
  /** For which text the server was asked, and whether all that it found are shown. */
  let answer = { text: '', isComplete: true };

  const wanted = () => (search.hidden ? '' : input.value.trim());

  function show() {
    const { people, count } = shown;
    const text = wanted();
    const found = text ? people.filter(({ name }) => folded(name).includes(folded(text))) : people;
    const all = count <= people.length || answer.text === text;
    setText(note, !text ? '' : !all ? 'Looking…' : foundWords(found.length, count <= people.length || answer.isComplete));
    restRow.hidden = Boolean(text) || count <= people.length;
    setText(rest, `and ${count - people.length} more`);
    keyed(list, found, (person) => person.id, (person) => row(person, actions, () => shown.amHost));
  }

  /** The server finds those whom it has not named. */
  async function look() {
    const text = wanted();
    const turn = ++asked;
    if (!text || shown.count <= shown.people.length) return;
    let isComplete = false;
    try {
      isComplete = await actions.find(text);
    } catch (error) {
      if (turn === asked) actions.fail(error);
    }
    if (turn !== asked) return;
    answer = { text, isComplete };
    show();
  }
  input.addEventListener('input', () => {
    show();
    clearTimeout(timer);
    timer = setTimeout(() => void look(), TYPING_MS);
  });
  more.addEventListener('click', () => busy(more, actions.listMore, actions.fail));
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    input.value = '';
    show();
  });

  return {
    element: h('section', { class: 'panel people', 'aria-labelledby': 'people-title' }, title, search, note, list, restRow, alone),
    /** @param {Person[]} people @param {number} count @param {boolean} amHost */
    update(people, count, amHost) {
      shown = { people, count, amHost };
      setText(title, count === 1 ? 'Just you, so far' : `${count} together`);
      const many = count >= MANY;
      search.hidden = !many;
      list.classList.toggle('people-many', many);
      // A list that scrolls within the page has to be reached from the keyboard.
      if (many) list.tabIndex = 0;
      else list.removeAttribute('tabindex');
      alone.hidden = count > 1;
      show();
    },
  };
}

/** Without regard to case. @param {string} text */
function folded(text) { return plain(text).normalize('NFKC').toLowerCase(); }

/** @param {number} found @param {boolean} isComplete whether all who were found are shown */
function foundWords(found, isComplete) {
  if (!isComplete) return `${found} found so far. A longer text finds the others.`;
  return found ? `${found} found.` : 'Nobody of that name is in the room.';
}

/**
 * @param {Person} first
 * @param {PeopleActions} actions
 * @param {() => boolean} amHost
 */
function row(first, actions, amHost) {
  let person = first;
  let drawn = '';
  const picture = avatar();
  const name = h('strong');
  const role = h('span', { class: 'soft', testid: 'participant-role' });
  const button = h('button', { class: 'button small ghost', type: 'button', testid: 'make-host' }, icon('crown'), 'Make host');
  button.addEventListener('click', () => busy(button, () => actions.makeHost(person), actions.fail));
  const element = h('li', { class: 'person', testid: 'participant', 'data-user-id': first.id },
    picture.element, h('span', { class: 'person-name' }, name, role), button);
  return {
    element,
    /** @param {Person} next */
    update(next) {
      const givesLead = amHost() && !next.isSelf;
      // Of hundreds, hardly one has changed.
      const key = `${next.isHost} ${next.isSelf} ${givesLead} ${next.name}`;
      if (key === drawn) return;
      drawn = key;
      person = next;
      picture.update(plain(next.name));
      setUserText(name, next.name);
      setText(role, [next.isHost ? 'Host' : '', next.isSelf ? 'you' : ''].filter(Boolean).join(' · '));
      element.dataset.username = next.name;
      element.dataset.host = String(next.isHost);
      element.dataset.self = String(next.isSelf);
      button.hidden = !givesLead;
      button.setAttribute('aria-label', `Make ${isolated(next.name)} host`);
    },
  };
}
