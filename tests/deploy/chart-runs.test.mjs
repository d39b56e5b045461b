// The program starts with what the chart gives to each Pod: arguments, variables, mounted files.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { register } from '../support/api.mjs';
import { eventually } from '../support/eventually.mjs';
import { binary, startTutti } from '../support/server.mjs';
import { must, render } from './support.mjs';

const SERVICE_KEYS = 'gateway:gateway-key-1,room:room-key-1';
const MOUNTED = '/etc/tutti/';

/** A certificate for 127.0.0.1, as cert-manager would write it. @param {string} folder */
async function certificate(folder) {
  mkdirSync(folder);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const file = (/** @type {string} */ name) => join(folder, name);
  await must('openssl', ['req', '-x509', ...key, '-days', '1', '-subj', '/CN=ca', '-keyout', file('ca.key'), '-out', file('ca.crt')]);
  await must('openssl', ['req', ...key, '-subj', '/CN=tutti', '-keyout', file('tls.key'), '-out', file('tls.csr')]);
  writeFileSync(file('extensions'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  const by = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial'];
  await must('openssl', ['x509', '-req', '-days', '1', ...by, '-in', file('tls.csr'), '-extfile', file('extensions'), '-out', file('tls.crt')]);
}

for (const setup of ['needed', 'ci/large-values.yaml']) {
  void test(`${setup}: the three parts serve a user`, async () => {
    const rendered = await render(setup);
    const folder = mkdtempSync(join(tmpdir(), 'tutti-chart-'));
    /** @type {Awaited<ReturnType<typeof startTutti>>[]} */
    const parts = [];
    try {
      mkdirSync(join(folder, 'signing-keys'));
      writeFileSync(join(folder, 'signing-keys/2026-01.pem'), await must(binary(), ['keygen']));
      await certificate(join(folder, 'grpc-tls'));
      /** What is in Secrets; Redis and the collector are another machine's. @type {Record<string, string | undefined>} */
      const elsewhere = {
        DATABASE_URL: `sqlite:${join(folder, 'tutti.db')}`,
        SERVICE_KEYS,
        REDIS_URL: undefined,
        REDIS_TLS_CA_FILE: undefined,
        OTEL_EXPORTER_OTLP_ENDPOINT: undefined,
        ADMIN_ADDR: '127.0.0.1:0',
      };
      /** @type {Record<string, string>} */
      const found = {};
      for (const role of ['auth', 'room', 'gateway']) {
        const [container] = rendered.one('Deployment', role).spec.template.spec.containers;
        /** @type {Record<string, string | undefined>} */
        const env = {};
        for (const { name, value } of container.env) {
          if (name in elsewhere) env[name] = elsewhere[name];
          else if (name in found) env[name] = `${value.split('://')[0]}://127.0.0.1:${found[name]}`;
          else if (value.startsWith(MOUNTED)) env[name] = join(folder, value.slice(MOUNTED.length));
          else env[name] = name.endsWith('_ADDR') ? '127.0.0.1:0' : value;
        }
        assert.deepEqual(container.args, [role]);
        const part = await startTutti({ role: container.args[0], env });
        parts.push(part);
        found[`${role.toUpperCase()}_URL`] = String(part.port);
      }
      const gateway = /** @type {Awaited<ReturnType<typeof startTutti>>} */ (parts.at(-1));
      await eventually(async () => (await fetch(`${gateway.url}/readyz`)).ok, `the gateway is ready\n${gateway.stderr()}`);
      await register(gateway.url, 'ann');
    } finally {
      for (const part of parts.reverse()) await part.stop();
      rmSync(folder, { recursive: true });
    }
  });
}
