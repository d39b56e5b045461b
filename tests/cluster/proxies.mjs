// The balancers of deploy/, as they are there.

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, Program, REPOSITORY, whenUp } from '../support/program.mjs';

/** @param {string} url */
async function answers(url) {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

/**
 * @param {string} folder
 * @param {string[]} gateways their addresses, host:port
 * @param {number} [port]
 */
export async function startHaproxy(folder, gateways, port) {
  port ??= await freePort();
  const server = new Program({
    name: 'HAProxy',
    command: ['haproxy', '-W', '-db', '-f', join(REPOSITORY, 'deploy', 'haproxy', 'haproxy.cfg')],
    env: {
      HTTP_BIND: `127.0.0.1:${port}`,
      ...Object.fromEntries(gateways.map((address, place) => [`GATEWAY_${place + 1}`, address])),
    },
    log: join(folder, 'haproxy.log'),
  });
  return started(server, port);
}

/**
 * @param {string} folder
 * @param {string[]} gateways their addresses, host:port
 * @param {number} [port]
 */
export async function startNginx(folder, gateways, port) {
  port ??= await freePort();
  const home = join(folder, 'nginx');
  mkdirSync(home);
  // Its workers are somebody else where root starts it, and keep larger requests in there.
  chmodSync(folder, 0o711);
  /** @type {Record<string, string>} */
  const values = {
    LISTEN: `127.0.0.1:${port}`,
    GATEWAYS: gateways.map((address) => `server ${address} max_fails=1 fail_timeout=1s;`).join(' '),
    RUN_DIR: home,
    ACCESS_LOG: join(home, 'access.log'),
  };
  const template = readFileSync(join(REPOSITORY, 'deploy', 'nginx', 'nginx.conf'), 'utf8');
  const config = join(home, 'nginx.conf');
  writeFileSync(config, template.replace(/\$\{(\w+)\}/g, (_, name) => values[name]));
  const server = new Program({
    name: 'nginx',
    command: ['nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'],
    log: join(folder, 'nginx.log'),
    // Its workers end with it, if it may tell them.
    lastResort: 'SIGTERM',
  });
  return started(server, port);
}

/** @param {Program} server @param {number} port */
async function started(server, port) {
  const url = `http://127.0.0.1:${port}`;
  server.start();
  await whenUp(server, () => answers(`${url}/readyz`));
  return { server, port, url, stop: () => server.stop() };
}
