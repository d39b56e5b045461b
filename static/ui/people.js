import { busy, h, keyed, setText } from './dom.js';
import { icon } from './icons.js';
import { avatar } from './pictures.js';

/** @typedef {import('./stage.js').Person} Person */

/**
 * Who is in the room.
 * @param {{makeHost: (person: Person) => Promise<void>, fail: (error: unknown) => void}} actions
 */
export function peopleView(actions) {
  const title = h('h2', { id: 'people-title' });
  const list = h('ul', { class: 'people-list', testid: 'participants' });
  const more = h('p', { class: 'soft', hidden: true });
  const alone = h('p', { class: 'soft alone' }, 'It is better with someone. Copy the link to this room and send it to them.');
  return {
    element: h('section', { class: 'panel people', 'aria-labelledby': 'people-title' }, title, list, more, alone),
    /** @param {Person[]} people @param {number} count @param {boolean} amHost */
    update(people, count, amHost) {
      setText(title, count === 1 ? 'Just you, so far' : `${count} together`);
      alone.hidden = count > 1;
      more.hidden = count <= people.length;
      setText(more, `and ${count - people.length} more`);
      keyed(list, people, (person) => person.id, (person) => row(person, actions));
      for (const button of list.querySelectorAll('[data-testid="make-host"]')) {
        const spot = /** @type {HTMLElement} */ (button);
        spot.hidden = !amHost || spot.dataset.self === 'true';
      }
    },
  };
}

/**
 * @param {Person} first
 * @param {{makeHost: (person: Person) => Promise<void>, fail: (error: unknown) => void}} actions
 */
function row(first, actions) {
  let person = first;
  const picture = avatar();
  const name = h('strong');
  const role = h('span', { class: 'soft', testid: 'participant-role' });
  const button = h('button', { class: 'button small ghost', type: 'button', testid: 'make-host', 'data-self': String(first.isSelf) },
    icon('crown'), 'Make host');
  button.addEventListener('click', () => busy(button, () => actions.makeHost(person), actions.fail));
  const element = h('li', { class: 'person', testid: 'participant', 'data-user-id': first.id },
    picture.element, h('span', { class: 'person-name' }, name, role), button);
  return {
    element,
    /** @param {Person} next */
    update(next) {
      person = next;
      picture.update(next.name);
      setText(name, next.name);
      setText(role, [next.isHost ? 'Host' : '', next.isSelf ? 'you' : ''].filter(Boolean).join(' · '));
      element.dataset.username = next.name;
      element.dataset.host = String(next.isHost);
      element.dataset.self = String(next.isSelf);
      button.setAttribute('aria-label', `Make ${next.name} host`);
    },
  };
}
