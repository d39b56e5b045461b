import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { formView, USERNAME_HINT } from './form.js';
import { avatar } from './pictures.js';
import { withUserText } from './user-text.js';

/**
 * Who one is here, and the one thing about it that can be changed.
 *
 * @param {object} parts
 * @param {import('../core/types.js').User} parts.user
 * @param {(username: string) => Promise<void>} parts.rename
 * @param {import('./form.js').Explain} parts.explain
 */
export function showAccount({ user, rename, explain }) {
  const picture = avatar('avatar-large');
  picture.update(user.username);
  const save = h('button', { class: 'button primary', type: 'submit', testid: 'account-save' }, 'Change it');
  const form = formView('account', [
    { name: 'username', label: 'Username', autocomplete: 'username', hint: USERNAME_HINT, more: { value: user.username, maxLength: 64 } },
  ], {
    button: save,
    explain,
    submit: async ({ username }) => {
      if (username !== user.username) await rename(username);
      dialog.close();
    },
  });
  form.element.append(...form.fields.map(({ element }) => element), form.problem,
    h('div', { class: 'row row-end' },
      h('button', { class: 'button quiet', type: 'button', testid: 'account-close', onclick: () => dialog.close() }, 'Close'), save));

  const dialog = openDialog(h('dialog', { class: 'dialog account', 'aria-labelledby': 'account-title', testid: 'account' },
    h('div', { class: 'account-head' }, picture.element,
      h('div', { class: 'account-who' },
        withUserText(h('h2', { id: 'account-title' }), user.name || user.username),
        h('p', { class: 'soft', testid: 'account-email' }, user.email ?? ''))),
    form.element));
}
