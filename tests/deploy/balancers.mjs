// Starts the balancers of deploy/ as they stand there, on free ports, in front of the given gateways.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/eventually.mjs';
import { freePort } from '../support/server.mjs';
import { DEPLOY, PATH } from './support.mjs';

/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => {
  // SIGKILL would leave nginx's workers behind.
  for (const child of children) child.kill('SIGTERM');
});

/**
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} env
 * @param {string} url it answers there once it is up
 * @param {() => void} [tidy]
 */
async function start(program, args, env, url, tidy) {
  const child = spawn(program, args, { env: { PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const exited = once(child, 'close');
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}\n${output}`);
    return fetch(`${url}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
  }, `${program} hands on\n${output}`);
  return {
    url,
    /** What it logged. */
    output: () => output,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      children.delete(child);
      tidy?.();
    },
  };
}

/**
 * @param {string[]} gateways `host:port` each
 * @param {Record<string, string>} [more] further settings of haproxy.cfg
 */
export async function startHaproxy(gateways, more = {}) {
  const port = await freePort();
  const env = { HTTP_BIND: `127.0.0.1:${port}`, ...named(gateways), ...more };
  return start('haproxy', ['-db', '-f', join(DEPLOY, 'haproxy/haproxy.cfg')], env, `http://127.0.0.1:${port}`);
}

/** @param {string[]} gateways @returns {Record<string, string>} as haproxy.cfg names them */
export function named(gateways) {
  return Object.fromEntries(gateways.map((address, index) => [`GATEWAY_${index + 1}`, address]));
}

/**
 * The configuration of nginx, filled in as its comment says.
 * @param {string[]} gateways
 * @param {number} port
 * @param {string} folder
 * @param {string[]} [proxies] the networks of proxies before it, in place of this machine's
 */
export function nginxConfiguration(gateways, port, folder, proxies) {
  const env = {
    PATH,
    LISTEN: `127.0.0.1:${port}`,
    GATEWAYS: gateways.map((address) => `server ${address} max_fails=1 fail_timeout=1s;`).join(' '),
    RUN_DIR: folder,
    ACCESS_LOG: join(folder, 'access.log'),
  };
  const filled = execFileSync('envsubst', ['$LISTEN $GATEWAYS $RUN_DIR $ACCESS_LOG'], {
    env,
    input: readFileSync(join(DEPLOY, 'nginx/nginx.conf')),
    encoding: 'utf8',
  });
  const file = join(folder, 'nginx.conf');
  const here = /127\.0\.0\.0\/8 1;\n\s+::1\/128 1;/;
  assert.match(filled, here);
  const configuration = proxies ? filled.replace(here, proxies.map((network) => `${network} 1;`).join('\n')) : filled;
  writeFileSync(file, configuration);
  return file;
}

/**
 * @param {string[]} gateways `host:port` each
 * @param {{PROXY_NETWORKS?: string}} [more] as for HAProxy
 */
export async function startNginx(gateways, { PROXY_NETWORKS } = {}) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'tutti-nginx-'));
  // Its workers are not root, even where the tests are.
  chmodSync(folder, 0o755);
  const file = nginxConfiguration(gateways, port, folder, PROXY_NETWORKS?.split(' '));
  const tidy = () => rmSync(folder, { recursive: true, force: true });
  const nginx = await start('nginx', ['-g', 'daemon off;', '-c', file], {}, `http://127.0.0.1:${port}`, tidy);
  return { ...nginx, output: () => nginx.output() + readFileSync(join(folder, 'access.log'), 'utf8') };
}
