import { h } from './dom.js';

/**
 * Opens a dialog that is gone once it closes, by a button, by Escape or by a click beside it.
 * @param {HTMLDialogElement} dialog
 */
export function openDialog(dialog) {
  dialog.addEventListener('close', () => dialog.remove());
  // On `mousedown`: selecting text may well end outside.
  dialog.addEventListener('mousedown', (event) => { if (event.target === dialog && beside(dialog, event)) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Its padding is the dialog too, its backdrop is not. @param {HTMLElement} dialog @param {MouseEvent} event */
function beside(dialog, { clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}

/**
 * Asks before something that cannot be taken back.
 * @param {{title: string, text: string, yes: string, kind?: 'danger' | 'primary'}} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes, kind = 'danger' }) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text', testid: 'confirm' },
      h('h2', { id: 'dialog-title' }, title),
      h('p', { id: 'dialog-text' }, text),
      h('div', { class: 'row row-end' },
        h('button', { class: 'button quiet', type: 'button', testid: 'confirm-no', onclick: () => dialog.close('no') }, 'Cancel'),
        h('button', { class: `button ${kind}`, type: 'button', testid: 'confirm-yes', onclick: () => dialog.close('yes') }, yes)));
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'));
    openDialog(dialog);
  });
}

/** Shows a link to be copied by hand. @param {string} link @param {string} audience whom it works for */
export function showLink(link, audience) {
  const field = h('input', { type: 'text', readOnly: true, value: link, testid: 'room-link', 'aria-labelledby': 'dialog-title' });
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title' },
    h('h2', { id: 'dialog-title' }, 'The link to this room'),
    h('p', {}, field),
    h('p', { testid: 'room-link-audience' }, audience),
    h('div', { class: 'row row-end' },
      h('button', { class: 'button primary', type: 'button', onclick: () => dialog.close() }, 'Done')));
  openDialog(dialog);
  field.select();
}
