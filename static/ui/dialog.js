import { h } from './dom.js';

/**
 * Asks before something that cannot be taken back.
 * @param {{title: string, text: string, yes: string}} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes }) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text', testid: 'confirm' },
      h('h2', { id: 'dialog-title' }, title),
      h('p', { id: 'dialog-text' }, text),
      h('div', { class: 'row row-end' },
        h('button', { class: 'button quiet', type: 'button', testid: 'confirm-no', onclick: () => dialog.close('no') }, 'Cancel'),
        h('button', { class: 'button danger', type: 'button', testid: 'confirm-yes', onclick: () => dialog.close('yes') }, yes)));
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes');
      dialog.remove();
    });
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close('no'); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows a link to be copied by hand. @param {string} link */
export function showLink(link) {
  const field = h('input', { type: 'text', readOnly: true, value: link, testid: 'room-link', 'aria-labelledby': 'dialog-title' });
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title' },
    h('h2', { id: 'dialog-title' }, 'The link to this room'),
    h('p', {}, field),
    h('div', { class: 'row row-end' },
      h('button', { class: 'button primary', type: 'button', onclick: () => dialog.close() }, 'Done')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  field.select();
}
