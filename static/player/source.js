import { BROKE_OFF } from './bytes.js';
import { NotReadable, PlayerError } from './player.js';

/** As a whole, and compressed, a song may take so much of a device. */
export const MOST_BYTES = 192 * 2 ** 20;

/**
 * A whole song, for a server that gives out no parts of it.
 *
 * @param {string} address
 * @param {AbortSignal} signal
 * @returns {Promise<Blob | null>} null where it has no end that is known, or is too large
 * @throws {NotReadable} where no page may read it
 * @throws {PlayerError} where it breaks off
 */
export async function download(address, signal) {
  const answer = await fetch(address, { signal, referrerPolicy: 'no-referrer' }).catch(() => { throw new NotReadable(); });
  const bytes = Number(answer.headers.get('content-length'));
  if (answer.status !== 200 || !answer.body || !bytes || bytes > MOST_BYTES) {
    void answer.body?.cancel();
    return null;
  }
  const whole = await answer.blob().catch(() => { throw new PlayerError(BROKE_OFF); });
  // Compressed on its way, it is as long as it is.
  if (whole.size < bytes && !answer.headers.get('content-encoding')) throw new PlayerError(BROKE_OFF);
  return whole;
}
