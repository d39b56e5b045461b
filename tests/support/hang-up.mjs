// Clients that ask for what is costly and do not wait for it.

import http from 'node:http';

/**
 * Sends logins all at once, and hangs up on all of them when the first is answered.
 * @param {string} url
 * @param {number} count
 */
export async function hangUpOnLogins(url, count) {
  const agent = new http.Agent({ maxSockets: count });
  const requests = Array.from({ length: count }, (_, n) => {
    const request = http.request(`${url}/api/v1/auth/login`, {
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json' },
    });
    request.on('error', () => undefined);
    return request.end(JSON.stringify({ login: `nobody-${n}`, password: 'not a password' }));
  });
  const gone = requests.map((request) => new Promise((resolve) => request.once('close', resolve)));
  await Promise.race(requests.map((request) => new Promise((resolve) => request.once('response', resolve))));
  for (const request of requests) request.destroy();
  await Promise.all(gone);
}

/** How many passwords a process has hashed. @param {string} metrics */
export function hashesIn(metrics) {
  const [, count] = /^tutti_password_hashes_total (\d+)$/m.exec(metrics) ?? [];
  return Number(count ?? 0);
}
