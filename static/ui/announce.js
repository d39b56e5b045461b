import { h } from './dom.js';

/** A problem wants more reading than a piece of news. */
const SHOWN_MS = { news: 4000, problem: 8000 };

/**
 * What happens, said where it is seen and where it is heard. Both live regions are in the page from the
 * start: a region added together with its text stays silent in some screen readers.
 */
const polite = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite', testid: 'announcer' });
const urgent = h('div', { class: 'unseen', role: 'alert', 'aria-live': 'assertive', testid: 'alerts' });
const toasts = h('div', { class: 'toasts', 'aria-hidden': 'true', testid: 'toasts' });

/** @param {HTMLElement} page */
export function installAnnouncer(page) { page.append(polite, urgent, toasts); }

/** @param {string} text */
export function tell(text) { say(text, 'news'); }

/** @param {string} text */
export function complain(text) { say(text, 'problem'); }

/** @param {string} text @param {'news' | 'problem'} kind */
function say(text, kind) {
  (kind === 'problem' ? urgent : polite).textContent = text;
  const toast = h('div', { class: `toast toast-${kind}`, testid: kind === 'problem' ? 'toast-problem' : 'toast' }, text);
  toast.addEventListener('click', () => toast.remove());
  // The same sentence twice on top of itself helps nobody.
  for (const old of [...toasts.children]) if (old.textContent === text) old.remove();
  toasts.append(toast);
  while (toasts.childElementCount > 3) toasts.firstElementChild?.remove();
  setTimeout(() => toast.remove(), SHOWN_MS[kind]);
}
