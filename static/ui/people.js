import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { avatar } from './pictures.js';
import { isolated, plain, setUserText } from './user-text.js';

/** @typedef {import('./stage.js').Person} Person */

/** From so many on a list is looked through, not read. */
const MANY = 13;

/**
 * Who is in the room.
 * @param {{makeHost: (person: Person) => Promise<void>, fail: (error: unknown) => void}} actions
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

  function show() {
    const { people, count } = shown;
    const wanted = search.hidden ? '' : folded(input.value.trim());
    const found = wanted ? people.filter(({ name }) => folded(name).includes(wanted)) : people;
    setText(note, wanted ? foundWords(found.length, people.length, count) : '');
    keyed(list, found, (person) => person.id, (person) => row(person, actions, () => shown.amHost));
  }
  input.addEventListener('input', show);
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
      setText(more, `and ${count - people.length} more. Of so many, ${people.length} are named here.`);
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
