import { ApiError } from './errors.js';

/** The server answers 503 within 2 s where a part of it is gone; beyond this the way to it is. */
const DEADLINE_MS = 10_000;

/**
 * @typedef {object} HttpCall
 * @property {string} method
 * @property {string} path Begins with a slash.
 * @property {unknown} [body] Goes out as JSON.
 * @property {string | null} [token] Access token.
 */

/**
 * One JSON call.
 *
 * @param {string} base `""` for the page's own server, or `https://host` without a slash at its end.
 * @param {HttpCall} call
 * @param {{ fetch?: typeof fetch, deadlineMs?: number }} [options]
 * @returns {Promise<any>} What the server answered, null where it answered nothing.
 * @throws {ApiError} Any status but 2xx; status 0 and code `UNAVAILABLE` where no answer came in time.
 */
export async function callJson(base, { method, path, body, token }, options = {}) {
  const { fetch: send = globalThis.fetch, deadlineMs = DEADLINE_MS } = options;
  /** @type {Record<string, string>} */
  const headers = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';

  let response;
  let text;
  try {
    response = await send(base + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      // The token is all there is to say who we are.
      credentials: 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(deadlineMs),
    });
    text = await response.text();
  } catch (cause) {
    throw new ApiError({ status: 0, code: 'UNAVAILABLE', detail: 'the server does not answer', cause });
  }

  const json = parse(text);
  if (!response.ok) throw problem(response, json);
  if (text !== '' && json === undefined) {
    throw new ApiError({ status: response.status, code: 'INTERNAL', detail: 'the answer is not JSON' });
  }
  return json ?? null;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What a status means where the body is not ours, from a proxy for instance. */
const CODES = /** @type {Record<number, string>} */ ({
  401: 'AUTH_REQUIRED', 403: 'FORBIDDEN', 404: 'NOT_FOUND', 409: 'CONFLICT', 429: 'RATE_LIMITED',
  502: 'UNAVAILABLE', 503: 'UNAVAILABLE', 504: 'UNAVAILABLE',
});

/**
 * @param {Response} response
 * @param {any} body
 */
function problem(response, body) {
  const { status } = response;
  const retryAfter = Number.parseFloat(response.headers.get('Retry-After') ?? '');
  return new ApiError({
    status,
    code: typeof body?.code === 'string' ? body.code : CODES[status] ?? (status < 500 ? 'INVALID_REQUEST' : 'INTERNAL'),
    detail: body?.detail ?? body?.title ?? `status ${status}`,
    errors: Array.isArray(body?.errors) ? body.errors : [],
    retryAfter: Number.isFinite(retryAfter) ? retryAfter : null,
  });
}
