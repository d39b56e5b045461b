// A cable that can be pulled: what goes through it stops without any end being told.

import { connect, createServer } from 'node:net';

/**
 * Forwards a port of its own to the server at `url` until it is cut.
 * @param {string} url
 * @param {import('node:test').TestContext} t the cable is taken away after this story
 */
export async function cable(url, t) {
  const { hostname, port } = new URL(url);
  let whole = true;
  /** @type {Set<import('node:net').Socket>} */
  const ends = new Set();
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const [from, to] of [[near, far], [far, near]]) {
      ends.add(from);
      from.setNoDelay(true);
      from.on('data', (chunk) => whole && to.write(chunk));
      from.on('end', () => whole && to.end());
      // Without a handler, a reset by either side would end this process.
      from.on('error', () => whole && to.destroy());
      from.on('close', () => ends.delete(from));
    }
    if (!whole) for (const end of [near, far]) end.pause();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => {
    server.close();
    for (const end of [...ends]) end.destroy();
  });
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${address.port}`,
    /** From now on nothing is read or written on either side; new connections are swallowed as well. */
    cut() {
      whole = false;
      for (const end of ends) end.pause();
    },
  };
}
