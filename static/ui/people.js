import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { avatar } from './pictures.js';
import { isolated, plain, setUserText } from './user-text.js';

/** @typedef {import('./stage.js').Person} Person */

/** From so many on a list is looked through, not read. */
const MANY = 13;
const TYPING_MS = 250;

/**
 * Who is in the room.
 * @param {{makeHost: (person: Person) => Promise<void>, find: (text: string) => Promise<Person[]>, fail: (error: unknown) => void}} actions
 */
export function peopleView(actions) {
  /** @type {{people: Person[], count: number, amHost: boolean}} */
  let shown = { people: [], count: 0, amHost: false };
  const title = h('h2', { id: 'people-title' });
  const list = h('ul', { class: 'people-list', 'aria-labelledby': 'people-title', testid: 'participants' });
  const more = h('p', { class: 'soft', hidden: true, testid: 'people-more' });
  const alone = h('p', { class: 'soft alone' }, 'It is better with someone. Copy the link to this room and send it to them.');
  const note = h('p', { class: 'soft', role: 'status', testid: 'people-note' });
  const input = h('input', {
    type: 'search', placeholder: 'Find someone in the room', 'aria-label': 'Find someone in the room', autocomplete: 'off',
    autocapitalize: 'none', spellcheck: false, maxLength: 64, testid: 'people-search',
  });
  const search = h('div', { class: 'search-box', role: 'search', hidden: true }, icon('search'), input);

  /** What the server has found of those who are not named, and for which words. @type {{wanted: string, people: Person[]}} */
  let others = { wanted: '', people: [] };
  let timer = 0;

  function show() {
    const { people, count } = shown;
    const wanted = search.hidden ? '' : folded(input.value.trim());
    const known = new Set(people.map(({ id }) => id));
    const beyond = wanted && wanted === others.wanted ? others.people.filter(({ id }) => !known.has(id)) : [];
    const found = wanted ? [...people.filter(({ name }) => folded(name).includes(wanted)), ...beyond] : people;
    setText(note, wanted ? foundWords(found.length, wanted === others.wanted ? count : people.length, count) : '');
    keyed(list, found, (person) => person.id, (person) => row(person, actions, () => shown.amHost));
  }
  input.addEventListener('input', () => {
    show();
    clearTimeout(timer);
    const text = input.value.trim();
    const wanted = folded(text);
    if (!wanted || shown.count <= shown.people.length) return;
    timer = setTimeout(() => actions.find(text).then((people) => {
      others = { wanted, people };
      show();
    }, actions.fail), TYPING_MS);
  });
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    input.value = '';
    show();
  });

  return {
    element: h('section', { class: 'panel people', 'aria-labelledby': 'people-title' }, title, search, note, list, more, alone),
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
      more.hidden = count <= people.length;
      setText(more, `and ${count - people.length} more. Of so many, ${people.length} are named here; the others can be found by name.`);
      show();
    },
  };
}

/** Without regard to case. @param {string} text */
function folded(text) { return plain(text).normalize('NFKC').toLowerCase(); }

/** @param {number} found @param {number} named @param {number} count */
function foundWords(found, named, count) {
  const among = named < count ? ` among the ${named} who are named` : '';
  return found ? `${found} found${among}.` : `Nobody of that name${among}.`;
}

/**
 * @param {Person} first
 * @param {{makeHost: (person: Person) => Promise<void>, fail: (error: unknown) => void}} actions
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
      picture.update(next.name);
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
