// A session of long-polling by hand: what a client library would not do can be done with it.

import { api } from './api.mjs';

const SEPARATOR = '\u001e';

export class PolledSession {
  /** @param {string} url @param {string} sid */
  constructor(url, sid) {
    this.address = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    this.call = api(url);
  }

  /** @param {string} url */
  static async open(url) {
    const { status, text } = await api(url)('GET', '/socket.io/?EIO=4&transport=polling');
    if (status !== 200) throw new Error(`${status}: ${text}`);
    return new PolledSession(url, JSON.parse(text.slice(1)).sid);
  }

  /** A session of somebody, who is told that it is connected. @param {import('./api.mjs').User} user */
  static async of(user) {
    const session = await PolledSession.open(user.url);
    await session.say(`40${JSON.stringify({ token: user.token })}`);
    for (;;) {
      const { status, packets } = await session.poll();
      if (packets.some((packet) => packet.startsWith('40'))) return session;
      if (status !== 200) throw new Error(`not connected: ${status}`);
    }
  }

  /** What waits, or comes next. */
  async poll() {
    const { status, text } = await this.call('GET', this.address);
    return { status, packets: text.split(SEPARATOR) };
  }

  /** @param {...string} packets */
  say(...packets) {
    return this.call('POST', this.address, { raw: packets.join(SEPARATOR) });
  }

  /** @param {string} name @param {unknown} payload */
  emit(name, payload) {
    return this.say(`42${JSON.stringify([name, payload])}`);
  }
}
