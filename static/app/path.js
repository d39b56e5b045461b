/**
 * @param {string} path
 * @returns {string | null} the room a link leads to
 */
export function roomInPath(path) {
  const id = /^\/room\/([^/]+)\/?$/.exec(path)?.[1];
  try {
    return id ? decodeURIComponent(id) : null;
  } catch {
    return null;
  }
}

/** @param {string} roomId */
export function roomPath(roomId) { return `/room/${encodeURIComponent(roomId)}`; }

/** Shows a place in the address bar. @param {string} path */
export function goTo(path) {
  if (location.pathname !== path) history.pushState(null, '', path);
}
