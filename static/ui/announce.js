import { h } from './dom.js';

/** A problem wants more reading than a piece of news. */
const SHOWN_MS = { news: 4000, problem: 8000 };

/**
 * What happens, said where it is seen and where it is heard. Both live regions are in the page from the start: a region added together
 * with its text stays silent in some screen readers. Sentences are added to them, not exchanged: of two in a row both are read out, and
 * so is the same one said again.
 */
const polite = h('div', { class: 'unseen', role: 'log', 'aria-live': 'polite', 'aria-label': 'News', testid: 'announcer' });
const urgent = h('div', { class: 'unseen', role: 'alert', 'aria-live': 'assertive', 'aria-atomic': 'false', testid: 'alerts' });
const toasts = h('div', { class: 'toasts', 'aria-hidden': 'true', testid: 'toasts' });

/** @param {HTMLElement} page */
export function installAnnouncer(page) { page.append(polite, urgent, toasts); }

/** News for everybody. @param {string} text */
export function tell(text) { say(text, 'news'); }

/** @param {string} text */
export function complain(text) { say(text, 'problem'); }

/** News that stands on the page already, for those who do not see it. @param {string} text */
export function announce(text) { speak(text, 'news'); }

/** @param {string} text @param {'news' | 'problem'} kind */
function speak(text, kind) {
  const sentence = h('p', {}, text);
  (kind === 'problem' ? urgent : polite).append(sentence);
  setTimeout(() => sentence.remove(), SHOWN_MS[kind]);
}

/** @param {string} text @param {'news' | 'problem'} kind */
function say(text, kind) {
  speak(text, kind);
  const toast = h('div', { class: `toast toast-${kind}`, testid: kind === 'problem' ? 'toast-problem' : 'toast' }, text);
  toast.addEventListener('click', () => toast.remove());
  // The same sentence twice on top of itself helps nobody.
  for (const old of [...toasts.children]) if (old.textContent === text) old.remove();
  toasts.append(toast);
  while (toasts.childElementCount > 3) toasts.firstElementChild?.remove();
  setTimeout(() => toast.remove(), SHOWN_MS[kind]);
}
