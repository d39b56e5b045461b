/** Seconds that an arrow key goes on or back. */
const STEP_S = 5;
/** Held arrow keys go on many times a second; the room needs only where they end. */
const SETTLE_MS = 250;
/** What needs keys itself. */
const TAKES_ALL = 'input:not([type="range"], [type="checkbox"], [type="radio"]), textarea, select, [contenteditable], dialog';
const TAKES_SPACE = 'button, a[href], summary, input';
const TAKES_ARROWS = 'input';

/** How the keys are called where pages say so (`aria-keyshortcuts`). */
export const KEYS = { play: 'Space K', mute: 'M', seek: 'ArrowLeft ArrowRight' };

/**
 * The keyboard in a room, wherever nothing else needs the key.
 *
 * @param {object} actions
 * @param {() => boolean} actions.here whether the room is what is looked at
 * @param {() => void} actions.toggle plays or pauses, or says why not
 * @param {() => void} actions.mute
 * @param {(seconds: number) => void} actions.seek
 * @param {() => number} actions.position seconds
 * @returns {() => void} gives the keys back
 */
export function roomKeys({ here, toggle, mute, seek, position }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {number | null} */
  let aim = null;

  /** @param {number} by seconds */
  function step(by) {
    aim = Math.max(0, (aim ?? position()) + by);
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (aim !== null && here()) seek(aim);
      aim = null;
    }, SETTLE_MS);
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    const { key, target, repeat, ctrlKey, metaKey, altKey, shiftKey, defaultPrevented } = event;
    if (defaultPrevented || ctrlKey || metaKey || altKey || shiftKey || !here()) return;
    const at = target instanceof Element ? target : document.body;
    if (at.closest(TAKES_ALL) || document.querySelector('dialog[open]')) return;
    const does = { ' ': toggle, k: toggle, m: mute, ArrowLeft: () => step(-STEP_S), ArrowRight: () => step(STEP_S) }[key.length === 1 ? key.toLowerCase() : key];
    if (!does || (key === ' ' && at.closest(TAKES_SPACE)) || (key.startsWith('Arrow') && at.closest(TAKES_ARROWS))) return;
    // Or the page scrolls.
    event.preventDefault();
    if (!repeat || key.startsWith('Arrow')) does();
  }

  addEventListener('keydown', press);
  return () => {
    clearTimeout(timer);
    removeEventListener('keydown', press);
  };
}
