/** @typedef {import('../core/types.js').Session} Session */

const SESSION = 'tutti.session';
const DEVICE = 'tutti.device';
const HOSTS = 'tutti.hosts';
/** Beyond that the oldest are forgotten, and asked for again. */
const MOST_HOSTS = 500;

/**
 * What belongs to this device, not to the account.
 * @typedef {object} Device
 * @property {number} volume from 0 to 1
 * @property {boolean} muted
 * @property {number} trimMs by how much the loudspeaker in use is later than the browser knows
 * @property {Record<string, number>} trims the same for each loudspeaker, by what the browser calls it
 * @property {Partial<import('../player/player.js').Habits>} lags what `<audio>` takes to start and to seek here, as learned
 * @property {'auto' | 'light' | 'dark'} theme
 * @property {boolean} hasAccount whether somebody has logged in here before
 */

/** @type {Device} */
const DEFAULTS = { volume: 0.8, muted: false, trimMs: 0, trims: {}, lags: {}, theme: 'auto', hasAccount: false };

/**
 * @param {string} key
 * @returns {any} null where there is nothing readable
 */
function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? 'null');
  } catch {
    // Storage refused (private mode) or spoilt: start afresh.
    return null;
  }
}

/** @param {string} key @param {unknown} value */
function write(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch { /* Without storage the page works until it is closed. */ }
}

/** @returns {Session | null} */
export function loadSession() {
  const session = read(SESSION);
  return session?.access_token && session?.refresh_token ? session : null;
}

/** @param {Session | null} session */
export function saveSession(session) { write(SESSION, session); }

/**
 * Another tab has logged in or out, or renewed the tokens.
 * @param {(session: Session | null) => void} listener
 */
export function onSessionElsewhere(listener) {
  addEventListener('storage', (event) => {
    if (event.key === SESSION || event.key === null) listener(loadSession());
  });
}

/** @returns {string[]} hosts that may see this listener's address */
export function loadHosts() {
  const hosts = read(HOSTS);
  return Array.isArray(hosts) ? hosts : [];
}

/** @param {string[]} hosts the newest last */
export function saveHosts(hosts) { write(HOSTS, hosts.slice(-MOST_HOSTS)); }

/** @returns {Device} */
export function loadDevice() { return { ...DEFAULTS, ...read(DEVICE) }; }

/** @param {Partial<Device>} change @returns {Device} */
export function saveDevice(change) {
  const device = { ...loadDevice(), ...change };
  write(DEVICE, device);
  return device;
}
