/** @typedef {import('./player.js').Song} Song */

/**
 * @typedef {object} Contact Whom a browser asks for a song, and shows its IP address by that.
 * @property {string} host with its port where it is not the usual one
 * @property {'internet' | 'network' | 'device'} where on the internet, in the listener's own network, or on the listener's own device
 */

/** YouTube's player is loaded from here. */
const YOUTUBE = 'www.youtube.com';

/**
 * Where a song is fetched from.
 * @param {Song} song
 * @returns {URL | null} null where it says nothing that a browser can read
 */
export function addressOf({ audio_url: address }) {
  return address && URL.canParse(address, location.href) ? new URL(address, location.href) : null;
}

/**
 * Whom a browser has to ask for a song.
 * @param {Song} song
 * @returns {Contact | null} null where that is nobody but the server of this page
 */
export function contactOf(song) {
  if (song.youtube_video_id) return { host: YOUTUBE, where: 'internet' };
  const url = addressOf(song);
  return !url || url.origin === location.origin ? null : { host: url.host, where: whereIs(url.hostname) };
}

/**
 * By the name alone: what it resolves to a page cannot know.
 * @param {string} hostname as URLs have it: in lower case, IPv4 addresses in four numbers, IPv6 ones in brackets
 * @returns {Contact['where']}
 */
function whereIs(hostname) {
  const name = hostname.replace(/\.$/, '');
  if (/^[\d.]+$/.test(name)) {
    if (/^(127|0)\./.test(name)) return 'device';
    return /^(10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(name) ? 'network' : 'internet';
  }
  if (/(^|\.)localhost$|^\[::(1|ffff:7f.*)?\]$/.test(name)) return 'device';
  // Unique local, link local, and IPv4 addresses in IPv6 ones, of which hardly any is public.
  if (/^\[(f[cd]|fe[89ab]|::ffff:)/.test(name)) return 'network';
  if (/\.(local|lan|home|internal|home\.arpa)$/.test(name) || !/[.:]/.test(name)) return 'network';
  return 'internet';
}
