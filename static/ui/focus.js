/**
 * Keeps the keyboard's place. Actions remove and hide what they were started from (a request that is accepted, a room that is left),
 * lists are brought into another order: the browser then drops the focus to the page's beginning, where a screen reader starts over.
 * One rule for all of it: the focus goes to what took the lost thing's place in its list, otherwise to the row it was in, otherwise to
 * the nearest heading that is still there.
 */

const REACHABLE = 'a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex="-1"])';

/** @param {Element} element */
const isShown = (element) => element.isConnected && element.checkVisibility();

/** @param {Element} element */
const takesFocus = (element) => isShown(element) && !(/** @type {HTMLButtonElement} */ (element)).disabled;

/** @param {HTMLElement} page watched for as long as it lives */
export function keepFocus(page) {
  /** What had the focus last, until the user takes it away. @type {HTMLElement | null} */
  let last = null;
  page.addEventListener('focusin', ({ target }) => { last = /** @type {HTMLElement} */ (target); });
  // A press on nothing in particular takes the focus away on purpose; what it does to the focus is done after its listeners.
  page.addEventListener('mousedown', () => setTimeout(() => { if (document.activeElement === page) last = null; }));

  new MutationObserver((changes) => {
    if (!last) return;
    const focused = document.activeElement;
    // Somebody has moved it already.
    if (focused && focused !== page && focused !== last) return;
    if (takesFocus(last)) {
      // Moved within its list, it loses the focus and is as good as before.
      if (focused !== last && changes.some(({ removedNodes }) => [...removedNodes].some((node) => node.contains(last)))) {
        last.focus({ preventScroll: true });
      }
      return;
    }
    successor(last, changes, page)?.focus();
  }).observe(page, { childList: true, subtree: true, attributes: true, attributeFilter: ['hidden', 'disabled', 'data-place'] });
}

/**
 * @param {HTMLElement} lost
 * @param {MutationRecord[]} changes
 * @param {HTMLElement} page
 * @returns {HTMLElement | null}
 */
function successor(lost, changes, page) {
  /** @type {Element | null} */
  let place = lost;
  /** Where rows of a list stood next to one that is gone. @type {(Node | null)[]} */
  let neighbours = [];
  while (place && !isShown(place)) {
    const { parentElement } = /** @type {Element} */ (place);
    const removal = parentElement ? undefined : changes.find(({ removedNodes }) => [...removedNodes].includes(/** @type {Element} */ (place)));
    neighbours = removal ? [removal.nextSibling, removal.previousSibling] : [place.nextElementSibling, place.previousElementSibling];
    place = parentElement ?? /** @type {Element | null} */ (removal?.target ?? null);
  }
  for (const row of neighbours) {
    if (row instanceof HTMLLIElement && isShown(row)) return within(row, lost.dataset.testid);
  }
  const row = place?.closest('li');
  if (row) return within(row, lost.dataset.testid);
  for (let around = place ?? page; ; around = around.parentElement ?? page) {
    const heading = [...around.querySelectorAll('h1, h2')].find(isShown);
    if (heading) return focusable(/** @type {HTMLElement} */ (heading));
    if (around === page) return null;
  }
}

/** The same control of another row, or whatever it has. @param {HTMLElement} row @param {string | undefined} testid */
function within(row, testid) {
  const controls = /** @type {HTMLElement[]} */ ([...row.querySelectorAll(REACHABLE)].filter(takesFocus));
  return controls.find(({ dataset }) => testid && dataset.testid === testid) ?? controls[0] ?? focusable(row);
}

/** @param {HTMLElement} element */
function focusable(element) {
  if (!element.hasAttribute('tabindex')) element.tabIndex = -1;
  return element;
}
