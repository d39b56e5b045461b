import { ApiError } from '../friend-room-client.js';
import { isolated } from '../ui/user-text.js';

/** @typedef {{form: string, fields: Map<string, string>}} Complaint */

/** @type {Record<string, string>} */
const BY_CODE = {
  AUTH_REQUIRED: 'Your session has ended. Please log in again.',
  JOIN_FAILED: 'This room is not open to you: it may be closed, full, or for friends of its host only.',
  UPDATE_FAILED: 'Only the host can do that.',
  NOT_IN_ROOM: 'You are no longer in this room.',
  RATE_LIMITED: 'That was a little too often. Please wait a moment.',
  UNAVAILABLE: 'Tutti is out of breath for a moment. Please try again.',
  INTERNAL: 'Something went wrong on our side. Please try again.',
};

/**
 * An error as a sentence for the person in front of the page.
 * @param {unknown} error
 * @returns {string}
 */
export function inWords(error) {
  const { code = '', message = '' } = /** @type {{code?: string, message?: string}} */ (error ?? {});
  if (error instanceof ApiError) {
    if (error.retryAfter) return `That was a little too often. Please wait ${waitWords(error.retryAfter)}.`;
    if (error.status === 0) return 'The server cannot be reached. Are you online?';
    if (error.status === 401) return error.detail && !/token/i.test(error.detail) ? sentence(error.detail) : BY_CODE.AUTH_REQUIRED;
    return BY_CODE[code] ?? sentence(error.detail || message || 'That did not work.');
  }
  if (error instanceof TypeError) return 'The server cannot be reached. Are you online?';
  return BY_CODE[code] ?? sentence(message || 'That did not work.');
}

/**
 * Why the page cannot connect, for the person in front of it and for whoever can mend it.
 * @param {string} code
 * @param {string} why in the server's words
 * @param {string} origin the page's
 */
export function refusalInWords(code, why, origin) {
  if (code === 'RATE_LIMITED') return sentence(`This page is not connected: ${why}`);
  return `This server does not accept this page’s address, ${origin}, so you cannot listen together here yet. Whoever runs it: ${why}.`;
}

/**
 * Whom the link to a room lets in, said to whoever copies it.
 * @param {{isFriendsOnly: boolean, isHost: boolean, hostName: string}} room
 */
export function linkAudience({ isFriendsOnly, isHost, hostName }) {
  if (!isFriendsOnly) return 'The link works for everybody with an account here; a new account will do.';
  return isHost ? 'The link works for your friends only. Others have to become your friends first.'
    : `The link works for friends of ${isolated(hostName)} only.`;
}

/**
 * An error of a form: what concerns one field apart from what concerns the whole.
 * @param {unknown} error
 * @param {string[]} fields the form's
 * @returns {Complaint}
 */
export function complaint(error, fields) {
  /** @type {Map<string, string>} */
  const found = new Map();
  if (error instanceof ApiError) {
    for (const { field, message } of error.errors ?? []) {
      if (fields.includes(field)) found.set(field, sentence(message));
    }
    if (!found.size && error.status === 409) {
      // A conflict names its field only in prose.
      const field = fields.find((name) => new RegExp(name.replace('email', 'e-?mail'), 'i').test(error.detail ?? ''));
      if (field) found.set(field, sentence(error.detail));
    }
  }
  return { form: found.size ? '' : inWords(error), fields: found };
}

/** @param {number} seconds */
function waitWords(seconds) {
  if (seconds < 90) return seconds <= 1 ? 'a second' : `${Math.ceil(seconds)} seconds`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} minutes` : 'an hour';
}

/** @param {string} text */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return '';
  const first = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
