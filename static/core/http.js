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
 * @typedef {object} HttpOptions
 * @property {typeof fetch} [fetch]
 * @property {number} [deadlineMs]
 */

/**
 * One JSON call.
 *
 * @param {string} base `""` for the page's own server, or `https://host` without a slash at its end.
 * @param {HttpCall} call
 * @param {HttpOptions} [options]
 * @returns {Promise<any>} What the server answered, null where it answered nothing.
 * @throws {ApiError} Any status but 2xx; status 0 and code `UNAVAILABLE` where no answer came in time.
 */
export async function callJson(base, call, options = {}) {
  const { response, body: text } = await send(base, call, options, { accept: 'application/json', cache: 'no-store' }, (answer) => answer.text());
  const json = parse(text);
  if (!response.ok) throw problem(response, json);
  if (text !== '' && json === undefined) {
    throw new ApiError({ status: response.status, code: 'INTERNAL', detail: 'the answer is not JSON' });
  }
  return json ?? null;
}

/**
 * One call for what is not JSON, which the browser may keep as long as the server says.
 *
 * @param {string} base As for {@link callJson}.
 * @param {HttpCall} call
 * @param {HttpOptions} [options]
 * @returns {Promise<Blob>}
 * @throws {ApiError} As {@link callJson}.
 */
export async function callBlob(base, call, options = {}) {
  const { response, body: blob } = await send(base, call, options, { accept: '*/*', cache: 'default' }, (answer) => answer.blob());
  if (!response.ok) throw problem(response, parse(await blob.text()));
  return blob;
}

/**
 * @template T
 * @param {string} base
 * @param {HttpCall} call
 * @param {HttpOptions} options
 * @param {{ accept: string, cache: RequestCache }} wanted
 * @param {(response: Response) => Promise<T>} read
 */
async function send(base, { method, path, body, token }, options, { accept, cache }, read) {
  const { fetch: ask = globalThis.fetch, deadlineMs = DEADLINE_MS } = options;
  /** @type {Record<string, string>} */
  const headers = { Accept: accept };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  try {
    const response = await ask(base + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      // The token is all there is to say who we are.
      credentials: 'omit',
      cache,
      signal: AbortSignal.timeout(deadlineMs),
    });
    return { response, body: await read(response) };
  } catch (cause) {
    throw new ApiError({ status: 0, code: 'UNAVAILABLE', detail: 'the server does not answer', cause });
  }
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
