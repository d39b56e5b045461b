import { NotReadable, PlayerError } from './player.js';

/** A server that gives a song out in parts is asked so often at most. */
const MOST_PARTS = 64;
export const BROKE_OFF = 'The connection to where this song comes from broke off.';

/**
 * The bytes of a file as they come. Where an answer ends before the file does, be it that the server gave out a part or that the
 * connection broke, what is missing is asked for.
 */
export class Download {
  /** Of the whole file; 0 where nobody says. */
  bytes = 0;
  /** How many have come. */
  received = 0;

  #address;
  #signal;
  /** What tells one file from another at the same address. */
  #mark = '';

  /** @param {string} address @param {AbortSignal} signal */
  constructor(address, signal) {
    this.#address = address;
    this.#signal = signal;
  }

  /**
   * @returns {AsyncGenerator<Uint8Array>} the file's bytes, in order
   * @throws {NotReadable} where no page may read it, or nobody answers
   * @throws {PlayerError} where it cannot be had as a whole
   */
  async* chunks() {
    for (let parts = 0; parts < MOST_PARTS; parts += 1) {
      const before = this.received;
      const body = await this.#ask();
      try {
        for (const reader = body.getReader(); ;) {
          const { done, value } = await reader.read();
          if (done) break;
          this.received += value.length;
          yield value;
        }
        // Of a file of unknown size, this is its end.
        if (!this.bytes) return;
      } catch (error) {
        if (this.#signal.aborted || !this.bytes) throw error;
      }
      if (this.received === this.bytes) return;
      // More than it said it would be is not the file that was asked for; and who gives nothing has no more.
      if (this.received > this.bytes || this.received === before) break;
    }
    throw new PlayerError(BROKE_OFF);
  }

  /** @returns {Promise<ReadableStream<Uint8Array>>} the file from the first byte that is missing */
  async #ask() {
    const headers = this.received ? { range: `bytes=${this.received}-` } : undefined;
    const answer = await fetch(this.#address, { headers, signal: this.#signal, referrerPolicy: 'no-referrer' }).catch((error) => {
      throw this.#signal.aborted ? error : this.received ? new PlayerError(BROKE_OFF) : new NotReadable();
    });
    const refuse = () => {
      void answer.body?.cancel();
      return new PlayerError(BROKE_OFF);
    };
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get('content-range') ?? '') ?? [];
    const mark = `${answer.headers.get('etag') ?? ''} ${answer.headers.get('last-modified') ?? ''}`;
    if (!answer.ok || !answer.body) throw refuse();
    if (answer.status === 206) {
      if (Number(from) !== this.received || (this.received && Number(total) !== this.bytes)) throw refuse();
      this.bytes = Number(total);
    } else if (this.received) throw refuse();
    // What is compressed on its way says how long it is on its way.
    else this.bytes = answer.headers.get('content-encoding') ? 0 : Number(answer.headers.get('content-length'));
    if (this.received && mark !== this.#mark) throw refuse();
    this.#mark = mark;
    return answer.body;
  }
}
