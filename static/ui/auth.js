import { busy, h, setText } from './dom.js';
import { wordmark } from './icons.js';

/**
 * @typedef {import('../app/words.js').Complaint} Complaint
 *
 * @typedef {object} AuthActions
 * @property {(fields: Record<string, string>) => Promise<void>} logIn
 * @property {(fields: Record<string, string>) => Promise<void>} register
 * @property {(error: unknown, fields: string[]) => Complaint} explain
 */

/** @typedef {{name: string, label: string, type?: string, autocomplete: string, hint?: string, optional?: boolean}} FieldPlan */

/** @type {FieldPlan[]} */
const LOGIN_FIELDS = [
  { name: 'login', label: 'Username or e-mail', autocomplete: 'username' },
  { name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password' },
];
/** @type {FieldPlan[]} */
const REGISTER_FIELDS = [
  { name: 'username', label: 'Username', autocomplete: 'username', hint: '3 to 32 letters, digits, dots, dashes. Friends find you by it.' },
  { name: 'email', label: 'E-mail', type: 'email', autocomplete: 'email' },
  { name: 'name', label: 'Your name', autocomplete: 'name', optional: true },
  { name: 'password', label: 'Password', type: 'password', autocomplete: 'new-password', hint: 'At least 10 characters. A short sentence is a good one.' },
];

/** @param {AuthActions} actions */
export function authView(actions) {
  const logIn = form('login', LOGIN_FIELDS, 'Log in', actions.logIn, actions.explain);
  const register = form('register', REGISTER_FIELDS, 'Create account', actions.register, actions.explain);
  const invitation = h('p', { class: 'invitation', testid: 'invitation', hidden: true },
    'You are invited to a room. Log in or create an account, and you are right in it.');
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
    /** @param {boolean} invited */
    show(invited) {
      invitation.hidden = !invited;
      logIn.clear();
      register.clear();
      choose(0);
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
 * @param {AuthActions['explain']} explain
 */
function form(kind, plans, submitLabel, submit, explain) {
  const fields = plans.map((plan) => field(kind, plan));
  const problem = h('p', { class: 'form-error', role: 'alert', testid: `${kind}-error` });
  const button = h('button', { class: 'button primary wide', type: 'submit', testid: `${kind}-submit` }, submitLabel);
  const element = h('form', {
    class: 'form', noValidate: true, testid: `${kind}-form`,
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      clear(false);
      const entries = Object.fromEntries(fields.map(({ name, input }) => [name, input.value.trim() || input.value]));
      void busy(button, () => submit(entries), (error) => {
        const { form: whole, fields: faults } = explain(error, plans.map(({ name }) => name));
        setText(problem, whole);
        for (const { name, complain } of fields) complain(faults.get(name) ?? '');
        (fields.find(({ name }) => faults.has(name)) ?? fields[0]).input.focus();
      });
    },
  }, ...fields.map((one) => one.element), problem, button);

  /** @param {boolean} values */
  function clear(values) {
    setText(problem, '');
    for (const { input, complain } of fields) {
      complain('');
      if (values) input.value = '';
    }
  }
  return { element, clear: () => clear(true) };
}

/** @param {string} kind @param {FieldPlan} plan */
function field(kind, plan) {
  const id = `${kind}-${plan.name}`;
  const input = h('input', {
    id, name: plan.name, type: plan.type ?? 'text', autocomplete: plan.autocomplete, testid: id,
    autocapitalize: 'none', spellcheck: false, 'aria-describedby': `${id}-hint ${id}-fault`,
    required: !plan.optional,
  });
  const fault = h('p', { class: 'field-fault', id: `${id}-fault`, role: 'alert', testid: `${id}-error` });
  const element = h('div', { class: 'field' },
    h('label', { htmlFor: id }, plan.label, plan.optional ? h('span', { class: 'soft' }, ' (if you like)') : null),
    input,
    plan.hint ? h('p', { class: 'field-hint', id: `${id}-hint` }, plan.hint) : null,
    fault);
  return {
    element, input, name: plan.name,
    /** @param {string} words empty when all is well */
    complain(words) {
      setText(fault, words);
      if (words) input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
    },
  };
}
