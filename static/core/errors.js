/** What goes wrong, in the form callers meet it. Both kinds carry one of the contract's codes. */

/** @typedef {{ field: string, message: string }} FieldError */

/** A REST call that did not succeed. */
export class ApiError extends Error {
  /**
   * @param {object} problem
   * @param {number} problem.status HTTP status; 0 where no answer came.
   * @param {string} problem.code
   * @param {string} problem.detail
   * @param {FieldError[]} [problem.errors]
   * @param {number | null} [problem.retryAfter]
   * @param {unknown} [problem.cause]
   */
  constructor({ status, code, detail, errors = [], retryAfter = null, cause }) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'ApiError';
    this.status = status;
    /** A code of the contract; `UNAVAILABLE` where no answer came. */
    this.code = code;
    this.detail = detail;
    /** Which member of the body broke which rule. */
    this.errors = errors;
    /** Seconds to wait before trying again, or null where the server named none. */
    this.retryAfter = retryAfter;
  }
}

/** A socket request that was refused, or that got no answer. */
export class SocketError extends Error {
  /**
   * @param {string} code A code of the contract; `UNAVAILABLE` where there was no connection or no answer in time.
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'SocketError';
    this.code = code;
  }
}

/**
 * The error as `onError` passes it on.
 *
 * @param {unknown} error
 * @returns {import('./types.js').ErrorPayload}
 */
export function asErrorPayload(error) {
  const { message, code } = /** @type {{ message?: unknown, code?: unknown }} */ (error ?? {});
  return {
    message: typeof message === 'string' ? message : String(error),
    code: typeof code === 'string' ? code : 'INTERNAL',
  };
}

/**
 * Whether trying the same thing again later may help.
 *
 * @param {unknown} error
 */
export function isTransient(error) {
  const { code } = asErrorPayload(error);
  return code === 'UNAVAILABLE' || code === 'RATE_LIMITED';
}
