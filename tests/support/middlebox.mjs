// What stands in some networks between a browser and the world: it lets requests through, and cuts WebSockets.

import { connect, createServer } from 'node:net';

/** Forwards a port of its own, and cuts each WebSocket behind the first thing that is said on it. @param {number} target */
export async function openMiddlebox(target) {
  let cuts = 0;
  /** @type {Set<import('node:net').Socket>} */
  const ends = new Set();
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    let isWebSocket = false;
    near.on('data', (chunk) => {
      isWebSocket ||= /\r\nupgrade: *websocket\r\n/i.test(chunk.toString('latin1'));
      far.write(chunk);
    });
    far.on('data', (chunk) => {
      if (!isWebSocket) return near.write(chunk);
      cuts += 1;
      near.end(chunk, () => near.destroy());
      far.destroy();
    });
    for (const [one, other] of [[near, far], [far, near]]) {
      ends.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        ends.delete(one);
        if (one === near || !isWebSocket) other.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  return {
    url: `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`,
    get cuts() {
      return cuts;
    },
    close() {
      server.close();
      for (const end of ends) end.destroy();
    },
  };
}
