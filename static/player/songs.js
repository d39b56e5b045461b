import { PlayerError } from './player.js';

/** @typedef {import('./player.js').Song} Song */

const YOUTUBE_ID = /^[A-Za-z0-9_-]{11}$/;
const YOUTUBE_HOSTS = new Set(['youtube.com', 'www.youtube.com', 'm.youtube.com', 'music.youtube.com', 'youtu.be', 'www.youtube-nocookie.com']);

/**
 * The video a YouTube link, or a bare id, names.
 * @param {string} text
 * @returns {string | null}
 */
export function youtubeId(text) {
  const entry = text.trim();
  if (YOUTUBE_ID.test(entry)) return entry;
  const url = parseUrl(/^(www\.|m\.|music\.)?youtu(be\.com|\.be)\//i.test(entry) ? `https://${entry}` : entry);
  if (!url || !YOUTUBE_HOSTS.has(url.hostname)) return null;
  const fromPath = /^\/(?:embed|shorts|live|v)\/([^/]+)/.exec(url.pathname)?.[1];
  const id = url.hostname === 'youtu.be' ? url.pathname.slice(1) : (url.searchParams.get('v') ?? fromPath ?? '');
  return YOUTUBE_ID.test(id) ? id : null;
}

/**
 * What the host typed or pasted, as a song.
 * @param {string} text
 * @param {string} origin this page's origin; a path is taken as one on this server
 * @returns {Song}
 */
export function songFromText(text, origin) {
  const entry = text.trim();
  if (!entry) throw new PlayerError('Paste a link first.');
  const video = youtubeId(entry);
  if (video) {
    return {
      title: 'YouTube video', artists: [], youtube_video_id: video,
      artwork_url: `https://i.ytimg.com/vi/${video}/hqdefault.jpg`,
    };
  }
  const url = parseUrl(entry.startsWith('/') ? origin + entry : entry);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new PlayerError('That is neither a web address (https://…) nor a YouTube link.');
  }
  if (YOUTUBE_HOSTS.has(url.hostname)) throw new PlayerError('That YouTube link names no video.');
  const here = url.origin === origin;
  return {
    title: titleFromPath(url), artists: here ? [] : [url.hostname],
    audio_url: here ? url.pathname + url.search : url.href,
  };
}

/** @param {URL} url */
function titleFromPath(url) {
  const file = url.pathname.split('/').filter(Boolean).pop() ?? '';
  let name = file;
  try { name = decodeURIComponent(file); } catch { /* a stray percent sign: the raw name will do */ }
  const title = name.replace(/\.[a-z0-9]{2,5}$/i, '').replace(/[_+-]+/g, ' ').trim();
  return title ? title[0].toUpperCase() + title.slice(1) : url.hostname;
}

/** @param {string} text */
function parseUrl(text) {
  try { return new URL(text); } catch { return null; }
}

/**
 * The tracks that come with this server.
 * @returns {Promise<Song[]>}
 */
export async function bundledTracks() {
  const response = await fetch('/tracks/tracks.json');
  if (!response.ok) return [];
  /** @type {unknown} */
  const list = await response.json();
  return Array.isArray(list) ? list : [];
}
