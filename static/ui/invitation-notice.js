import { busy, h, setText } from './dom.js';
import { icon } from './icons.js';

/**
 * @typedef {object} NoticeShown
 * @property {string} title
 * @property {string} text
 * @property {boolean} findsHost whether looking for the host may help
 *
 * @typedef {object} NoticeActions
 * @property {() => Promise<void>} retry
 * @property {() => void} findHost
 * @property {() => void} putAside
 * @property {(error: unknown) => void} fail
 */

/** The room of a link that has not let this user in yet. @param {NoticeActions} actions */
export function invitationNotice(actions) {
  const title = h('h2', { id: 'notice-title', tabIndex: -1, testid: 'notice-title' });
  const text = h('p', { testid: 'notice-text' });
  const retry = h('button', { class: 'button small primary', type: 'button', testid: 'notice-retry' }, 'Try again');
  const find = h('button', { class: 'button small', type: 'button', testid: 'notice-find', onclick: actions.findHost }, icon('search'), 'Find the host');
  const aside = h('button', { class: 'button small quiet', type: 'button', testid: 'notice-aside', onclick: actions.putAside }, 'Forget the link');
  retry.addEventListener('click', () => busy(retry, actions.retry, actions.fail));
  const element = h('section', { class: 'notice', 'aria-labelledby': 'notice-title', testid: 'invitation-notice', hidden: true },
    title, text, h('div', { class: 'row' }, retry, find, aside));
  return {
    element,
    focus() { title.focus(); },
    /** @param {NoticeShown | null} shown */
    update(shown) {
      element.hidden = !shown;
      if (!shown) return;
      setText(title, shown.title);
      setText(text, shown.text);
      find.hidden = !shown.findsHost;
    },
  };
}
