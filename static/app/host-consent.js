import { contactOf } from '../player/contact.js';
import { loadHosts, saveHosts } from './storage.js';

/** @typedef {import('../core/types.js').Song} Song */

/** The hosts of songs that this listener lets see their address, on this device. Where nothing can be stored, until the page is closed. */
export class HostConsent {
  /** @type {Set<string>} */
  #here = new Set();

  /** Whether a song may be fetched from where it is. @param {Song} song */
  covers(song) {
    const contact = contactOf(song);
    return !contact || this.#here.has(contact.host) || loadHosts().includes(contact.host);
  }

  /** The listener agrees to the host of this song. @param {Song} song */
  give(song) {
    const contact = contactOf(song);
    if (!contact || this.covers(song)) return;
    this.#here.add(contact.host);
    saveHosts([...loadHosts(), contact.host]);
  }
}
