import { h, setText } from './dom.js';
import { formView, USERNAME_HINT } from './form.js';
import { wordmark } from './icons.js';

/**
 * @typedef {import('./form.js').FieldPlan} FieldPlan
 *
 * @typedef {object} AuthActions
 * @property {(fields: Record<string, string>) => Promise<void>} logIn
 * @property {(fields: Record<string, string>) => Promise<void>} register
 * @property {import('./form.js').Explain} explain
 */

/** @type {FieldPlan[]} */
const LOGIN_FIELDS = [
  { name: 'login', label: 'Username or e-mail', autocomplete: 'username' },
  { name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password' },
];
/** @type {FieldPlan[]} */
const REGISTER_FIELDS = [
  { name: 'username', label: 'Username', autocomplete: 'username', hint: USERNAME_HINT },
  { name: 'email', label: 'E-mail', type: 'email', autocomplete: 'email' },
  { name: 'name', label: 'Your name', autocomplete: 'name', optional: true },
  { name: 'password', label: 'Password', type: 'password', autocomplete: 'new-password', hint: 'At least 10 characters. A short sentence is a good one.' },
];

/** @param {AuthActions} actions */
export function authView(actions) {
  const logIn = authForm('login', LOGIN_FIELDS, 'Log in', actions.logIn, actions.explain);
  const register = authForm('register', REGISTER_FIELDS, 'Create account', actions.register, actions.explain);
  const invitation = h('p', { class: 'invitation', testid: 'invitation', hidden: true });
  const tabs = [tab('login', 'Log in'), tab('register', 'Create account')];
  const panels = [panel('login', logIn.element), panel('register', register.element)];

  /** @param {number} chosen @param {boolean} [focus] */
  function choose(chosen, focus = false) {
    tabs.forEach((button, index) => {
      button.setAttribute('aria-selected', String(index === chosen));
      button.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
    if (focus) tabs[chosen].focus();
  }
  tabs.forEach((button, index) => {
    button.addEventListener('click', () => choose(index));
    button.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') choose(1 - index, true);
    });
  });
  choose(0);

  const element = h('main', { class: 'auth', testid: 'auth-view', tabIndex: -1 },
    h('section', { class: 'auth-hero' },
      rings(),
      wordmark('wordmark wordmark-large'),
      h('h1', {}, 'All together, ', h('em', {}, 'now.')),
      h('p', {}, 'The same song, the same second, wherever your friends are.')),
    h('section', { class: 'auth-card', 'aria-label': 'Your account' },
      invitation,
      h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Account' }, ...tabs),
      ...panels));

  return {
    element,
    /**
     * @param {boolean} invited whether the address is a link to a room
     * @param {boolean} known whether somebody has logged in on this device before
     */
    show(invited, known) {
      invitation.hidden = !invited;
      setText(invitation, known
        ? 'You are invited to listen together in a room. Log in, or create an account, and you are taken right there.'
        : 'You are invited to listen together in a room. Create an account, and you are taken right there. If you have one, log in.');
      logIn.clear();
      register.clear();
      choose(invited && !known ? 1 : 0);
    },
  };
}

/** @param {string} name @param {string} label */
function tab(name, label) {
  return h('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': `panel-${name}`, testid: `tab-${name}` }, label);
}

/** @param {string} name @param {HTMLElement} content */
function panel(name, content) {
  return h('div', { role: 'tabpanel', id: `panel-${name}`, 'aria-labelledby': `tab-${name}` }, content);
}

/** Listeners at different places, on the rings of one sound. */
function rings() {
  return h('div', { class: 'rings', 'aria-hidden': 'true' },
    ...['ring-a', 'ring-b', 'ring-c'].map((name) => h('span', { class: `ring ${name}` }, h('i'), name === 'ring-a' ? null : h('i'))));
}

/**
 * @param {string} kind
 * @param {FieldPlan[]} plans
 * @param {string} submitLabel
 * @param {(fields: Record<string, string>) => Promise<void>} submit
 * @param {import('./form.js').Explain} explain
 */
function authForm(kind, plans, submitLabel, submit, explain) {
  const button = h('button', { class: 'button primary wide', type: 'submit', testid: `${kind}-submit` }, submitLabel);
  const form = formView(kind, plans, { button, submit, explain });
  form.element.append(...form.fields.map(({ element }) => element), form.problem, button);
  return form;
}
