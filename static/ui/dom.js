/**
 * @typedef {Node | string | null | undefined | false} Child
 * @typedef {Record<string, unknown>} Props
 */

/**
 * An element. `testid` becomes data-testid, `class` the class, `on…` a listener; what the element has as a
 * property is set as one, everything else as an attribute. `false`, null and undefined are left out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'testid') element.dataset.testid = String(value);
    else if (name === 'class') element.className = String(value);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name in element && !name.includes('-')) Object.assign(element, { [name]: value });
    else element.setAttribute(name, String(value));
  }
  element.append(...present(children));
  return element;
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.filter((child) => child || child === ''));
}

/** Sets text only where it changed, so that live regions and selections are left in peace. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Brings a list up to date without making its elements anew: focus, hover and open menus survive a refresh.
 *
 * @template T
 * @template {{element: HTMLElement, update: (item: T) => void}} V
 * @param {HTMLElement} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => V} create
 */
export function keyed(parent, items, key, create) {
  const views = /** @type {Map<string, V>} */ (viewsOf(parent));
  const wanted = new Set(items.map(key));
  for (const [name, view] of views) {
    if (wanted.has(name)) continue;
    view.element.remove();
    views.delete(name);
  }
  items.forEach((item, index) => {
    const name = key(item);
    let view = views.get(name);
    if (!view) {
      view = create(item);
      views.set(name, view);
    }
    view.update(item);
    if (parent.children[index] !== view.element) parent.insertBefore(view.element, parent.children[index] ?? null);
  });
}

/** @type {WeakMap<HTMLElement, Map<string, any>>} */
const lists = new WeakMap();

/** @param {HTMLElement} parent */
function viewsOf(parent) {
  let views = lists.get(parent);
  if (!views) lists.set(parent, views = new Map());
  return views;
}

/**
 * Runs what a button stands for, with the button out of use until it is done.
 * @param {HTMLButtonElement} button
 * @param {() => unknown} work
 * @param {(error: unknown) => void} onError
 */
export async function busy(button, work, onError) {
  if (button.getAttribute('aria-busy') === 'true') return;
  // Not `disabled`: that would throw the keyboard's focus away.
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (error) {
    onError(error);
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/** @param {number} seconds @returns {string} 3:05 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const tail = String(whole % 60).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${tail}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${tail}`;
}

/** How long something lasts, which is not cut down as the time that has passed is. @param {number} seconds @returns {string} 3:05 */
export function length(seconds) { return clock(Math.round(seconds)); }

export const calm = matchMedia('(prefers-reduced-motion: reduce)');
