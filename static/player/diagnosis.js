import { addressOf } from './contact.js';
import { PlayerError } from './player.js';

/** @typedef {import('./player.js').Song} Song @typedef {{ words: string, lasting: boolean }} Diagnosis */

/** What says nothing in this time does not answer. */
const ANSWER_MS = 5_000;
/** What servers call a page, a list or an error, and never a song. */
const NO_SOUND = /^(text\/|image\/|application\/(json|xml|xhtml|pdf|zip|javascript))/i;

/**
 * Why a song could not be loaded. A browser tells a page next to nothing of that, so the address is asked once more, as far as
 * its server lets a page see the answer.
 *
 * @param {Song} song
 * @param {PlayerError} error what the player said of it
 * @param {boolean} broken whether it could be played before: then it is a song, and what cannot be seen says nothing new
 * @returns {Promise<Diagnosis>} `lasting`: another attempt would end the same way
 */
export async function explain(song, error, broken = false) {
  const known = { words: error.message, lasting: error.lasting };
  if (song.youtube_video_id || !song.audio_url || error.lasting) return known;
  const url = addressOf(song);
  if (!url) return { words: 'The address of this song is none that a browser can read.', lasting: true };
  if (url.protocol === 'http:' && location.protocol === 'https:' && !isLocal(url.hostname)) {
    return {
      words: `This page is loaded over https, and the song over http, from ${url.host}: browsers refuse that. A link that begins with https:// is needed.`,
      lasting: true,
    };
  }
  if (globalThis.navigator?.onLine === false) return { words: 'This device is offline. The song goes on when it is online again.', lasting: false };
  return ask(url, known, broken);
}

/**
 * Where a song comes from, to be shown to people.
 * @param {Song} song
 * @returns {string} a host, with its port where it is not the usual one
 */
export function placeOf(song) { return song.youtube_video_id ? 'YouTube' : addressOf(song)?.host ?? ''; }

/** @param {URL} url @param {Diagnosis} known @param {boolean} broken @returns {Promise<Diagnosis>} */
async function ask(url, known, broken) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), ANSWER_MS);
  const options = /** @type {RequestInit} */ ({ signal: giveUp.signal, credentials: 'same-origin', cache: 'no-store', referrerPolicy: 'no-referrer' });
  try {
    const answer = await fetch(url, options).catch((error) => {
      if (giveUp.signal.aborted) throw error;
      // Of a server that lets no page read its answers it can be seen whether it answers at all.
      return fetch(url, { ...options, mode: 'no-cors' });
    });
    if (answer.type !== 'opaque') return seen(url, answer, known);
    return broken ? known : unseen(url, known);
  } catch {
    return giveUp.signal.aborted
      ? { words: `${url.host} does not answer. Tutti keeps trying.`, lasting: false }
      : { words: `${url.host} cannot be reached from here. Tutti keeps trying.`, lasting: false };
  } finally {
    clearTimeout(timer);
    // Only the head was wanted.
    giveUp.abort();
  }
}

/** @param {URL} url @param {Diagnosis} known @returns {Diagnosis} */
function unseen({ host }, known) {
  return {
    words: `${known.words} ${host} answers, but lets no page see what: perhaps the link has expired or needs a login, or it is no song that this browser can play.`,
    lasting: false,
  };
}

/** @param {URL} url @param {Response} answer @param {Diagnosis} known @returns {Diagnosis} */
function seen({ host }, { status, headers, ok }, known) {
  const type = (headers.get('content-type') ?? '').split(';')[0].trim();
  if (status === 404 || status === 410) return { words: `${host} has nothing at this address (${status}): the song was moved or removed.`, lasting: false };
  if (status === 401 || status === 403) {
    return { words: `${host} does not let this song be played (${status}): the link may have expired, or it needs a login.`, lasting: false };
  }
  if (status === 429 || status >= 500) return { words: `${host} is in trouble at present (${status}). Tutti keeps trying.`, lasting: false };
  if (!ok) return { words: `${host} refuses this song (${status}).`, lasting: false };
  if (NO_SOUND.test(type)) return { words: `There is no song at this address: ${host} sends ${kindOf(type)}. A link to the audio file itself is needed.`, lasting: true };
  if (/^(audio|video)\//i.test(type) && !canPlay(type)) return { words: `This browser cannot play songs of this kind (${type}).`, lasting: true };
  return known;
}

/** @param {string} type */
function kindOf(type) {
  if (/html/i.test(type)) return 'a web page';
  return type.startsWith('image/') ? 'a picture' : type;
}

/** @param {string} type */
function canPlay(type) { return typeof document === 'undefined' || document.createElement('audio').canPlayType(type) !== ''; }

/** Browsers trust these without https. @param {string} host */
function isLocal(host) { return host === 'localhost' || host.endsWith('.localhost') || host === '127.0.0.1' || host === '[::1]'; }
