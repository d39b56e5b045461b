import { busy, h, setText } from './dom.js';

/**
 * @typedef {object} FieldPlan
 * @property {string} name what the server calls it
 * @property {string} label
 * @property {string} [type]
 * @property {string} [autocomplete]
 * @property {string} [hint]
 * @property {boolean} [optional]
 * @property {string} [testid] where it is not the form's and the field's name
 * @property {Record<string, unknown>} [more] further properties of the input
 *
 * @typedef {(error: unknown, fields: string[]) => import('../app/words.js').Complaint} Explain
 * @typedef {ReturnType<typeof fieldView>} Field
 */

export const USERNAME_HINT = '3 to 32 letters, digits, dots, dashes. Friends find you by it.';

/**
 * A form that says what is wrong beside the field that is wrong. Its caller lays out the parts.
 *
 * @param {string} kind begins the ids of all that is in it
 * @param {FieldPlan[]} plans
 * @param {object} parts
 * @param {HTMLButtonElement} parts.button the one that submits
 * @param {(values: Record<string, string>) => Promise<void>} parts.submit
 * @param {Explain} parts.explain
 * @param {string} [parts.className]
 */
export function formView(kind, plans, { button, submit, explain, className = 'form' }) {
  const fields = plans.map((plan) => fieldView(kind, plan));
  const problem = h('p', { class: 'form-error', role: 'alert', testid: `${kind}-error` });
  const element = h('form', {
    class: className, noValidate: true, testid: `${kind}-form`,
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      settle();
      const values = Object.fromEntries(fields.map(({ name, value }) => [name, value()]));
      void busy(button, () => submit(values), (error) => {
        const { form: whole, fields: faults } = explain(error, plans.map(({ name }) => name));
        setText(problem, whole);
        for (const { name, complain } of fields) complain(faults.get(name) ?? '');
        (fields.find(({ name }) => faults.has(name)) ?? fields[0]).input.focus();
      });
    },
  });

  /** Takes the complaints away. */
  function settle() {
    setText(problem, '');
    for (const { complain } of fields) complain('');
  }
  return {
    element, fields, problem,
    clear() {
      settle();
      for (const { input } of fields) input.value = '';
    },
  };
}

/** @param {string} kind @param {FieldPlan} plan */
function fieldView(kind, plan) {
  const id = plan.testid ?? `${kind}-${plan.name}`;
  const input = h('input', {
    id, name: plan.name, type: plan.type ?? 'text', autocomplete: plan.autocomplete ?? 'off', testid: id,
    autocapitalize: 'none', spellcheck: false, 'aria-describedby': `${plan.hint ? `${id}-hint ` : ''}${id}-fault`,
    required: !plan.optional, ...plan.more,
  });
  const fault = h('p', { class: 'field-fault', id: `${id}-fault`, role: 'alert', testid: `${id}-error` });
  const element = h('div', { class: 'field' },
    h('label', { htmlFor: id }, plan.label, plan.optional ? h('span', { class: 'soft' }, ' (if you like)') : null),
    input,
    plan.hint ? h('p', { class: 'field-hint', id: `${id}-hint` }, plan.hint) : null,
    fault);
  return {
    element, input, name: plan.name,
    /** Blanks around it are left out, but for a password: they belong to it. */
    value: () => (plan.type === 'password' ? input.value : input.value.trim() || input.value),
    /** @param {string} words empty when all is well */
    complain(words) {
      setText(fault, words);
      if (words) input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
    },
  };
}
