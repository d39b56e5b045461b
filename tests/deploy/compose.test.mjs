// compose.yaml: that it is one, and that the program starts with what it says.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually } from '../support/eventually.mjs';
import { binary, freePort, startTutti } from '../support/server.mjs';
import { DEPLOY, must, PATH, run, yamlFile } from './support.mjs';

const FILE = join(DEPLOY, 'compose.yaml');
const compose = await yamlFile(FILE);
/** @type {Record<string, any>} */
const services = compose.services;
const OURS = ['gateway', 'auth', 'room', 'migrate'];

void test('it is what the specification of compose files says', async () => {
  await must('check-jsonschema', ['--builtin-schema', 'vendor.compose-spec', FILE]);
});

void test('one box has all parts: two gateways behind the balancer, the others behind them', () => {
  assert.deepEqual(Object.keys(services).sort(), ['auth', 'balancer', 'gateway', 'migrate', 'postgres', 'redis', 'room']);
  assert.equal(services.gateway.deploy.replicas, 2);
  // What has a name or a port of the host cannot be there twice.
  for (const name of ['gateway', 'auth', 'room']) {
    assert.equal(services[name].container_name, undefined);
    assert.equal(services[name].ports, undefined);
  }
  const open = Object.keys(services).filter((name) => services[name].ports);
  assert.deepEqual(open, ['balancer'], 'nothing else is reached from outside');
  assert.match(services.balancer.ports[0], /127\.0\.0\.1/, 'and that from here only, unless told otherwise');
  assert.equal(compose.networks.inside.internal, true);
  // Gateways fetch pictures of songs.
  const outside = ['balancer', 'gateway'];
  for (const [name, { networks }] of Object.entries(services)) {
    assert.deepEqual(networks, outside.includes(name) ? ['inside', 'outside'] : ['inside'], name);
  }
});

void test('no container can do more than it has to', () => {
  for (const [name, service] of Object.entries(services)) {
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ['ALL'], name);
    assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
    assert.equal(service.privileged, undefined, name);
    assert.match(service.image, /:/, `${name} says which version`);
  }
  for (const name of OURS) assert.equal(services[name].volumes ?? services[name].tmpfs, undefined, `${name} writes nothing`);
});

void test('each part starts when those it needs are healthy', () => {
  const order = Object.fromEntries(Object.entries(services).map(([name, { depends_on = {} }]) => [name, depends_on]));
  assert.deepEqual(Object.keys(order.gateway).sort(), ['auth', 'redis', 'room']);
  assert.equal(order.auth.migrate.condition, 'service_completed_successfully');
  for (const [name, needed] of Object.entries(order)) {
    for (const [other, { condition }] of Object.entries(needed)) {
      if (condition === 'service_healthy') assert.ok(services[other].healthcheck.test, `${name} waits for the health of ${other}`);
    }
  }
});

void test('a stopped gateway has the time to let its connections go', () => {
  const seconds = (/** @type {string} */ text) => Number.parseInt(text, 10);
  assert.ok(seconds(services.gateway.stop_grace_period) >= seconds(services.gateway.environment.DRAIN_TIME) + 5);
});

/** @param {(folder: string) => Promise<void>} body */
async function withSecrets(body) {
  const folder = mkdtempSync(join(tmpdir(), 'tutti-compose-'));
  try {
    const secrets = join(folder, 'secrets');
    await must(join(DEPLOY, 'make-secrets'), [secrets], { env: { TUTTI: binary() } });
    await body(secrets);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param {string} folder @returns {Record<string, string>} */
const contents = (folder) => Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

void describe('make-secrets', () => {
  void test('makes what the file names, for its owner only, and never makes it anew', () =>
    withSecrets(async (folder) => {
      const named = [
        ...Object.values(compose.secrets).map(({ file }) => file),
        ...Object.values(services).flatMap(({ env_file = [] }) => env_file),
      ];
      const before = contents(folder);
      for (const name of named) assert.ok(before[name.replace('secrets/', '')], name);
      assert.equal(statSync(folder).mode & 0o777, 0o700);
      assert.equal(await must(join(DEPLOY, 'make-secrets'), [folder], { env: { TUTTI: '/bin/false' } }), '');
      assert.deepEqual(contents(folder), before);
    }));

  void test('leaves no empty key behind where it cannot make one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tutti-compose-'));
    try {
      const { code } = await run(join(DEPLOY, 'make-secrets'), [folder], { env: { TUTTI: '/bin/false' } });
      assert.notEqual(code, 0);
      assert.deepEqual(readdirSync(folder), []);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  void test('its files are what PostgreSQL, Redis and the parts agree about', () =>
    withSecrets(async (folder) => {
      const files = contents(folder);
      const password = (/** @type {string} */ text) => new URL(text.slice(text.indexOf('=') + 1)).password;
      assert.equal(password(files['database.env']), files['postgres-password']);
      assert.equal(files['redis.conf'], `requirepass ${password(files['redis.env'])}\n`);
      const database = new URL(files['database.env'].slice('DATABASE_URL='.length));
      // Not the superuser that the image makes: the role of database.sql, with that password.
      assert.deepEqual([database.username, database.pathname.trim()], ['tutti', '/tutti']);
      assert.equal(services.postgres.environment.POSTGRES_USER, undefined);
      assert.equal(services.postgres.environment.TUTTI_PASSWORD_FILE, '/run/secrets/postgres-password');
      assert.ok(services.postgres.volumes.includes('./postgres/database.sql:/docker-entrypoint-initdb.d/database.sql:ro'));
      assert.ok(services[database.hostname] && services[new URL(files['redis.env'].slice('REDIS_URL='.length)).hostname]);
    }));
});

void test('the program takes the commands and settings, and the health check sees it', () =>
  withSecrets(async (folder) => {
    const files = contents(folder);
    /** The variables of a service, as compose would pass them. @param {string} name */
    const environment = (name) => {
      const given = Object.entries(services[name].environment ?? {}).map(([key, value]) => [
        key,
        String(value).replace(/\$\{\w+:-(.*?)\}/g, '$1'),
      ]);
      const fromFiles = services[name].env_file.flatMap((/** @type {string} */ file) =>
        files[file.replace('secrets/', '')]
          .trim()
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      );
      return Object.fromEntries([...fromFiles, ...given]);
    };
    const database = { DATABASE_URL: `sqlite:${join(folder, 'tutti.db')}` };
    // Addresses are another machine's; all else is as it stands there.
    const here = { REDIS_URL: undefined };
    /** @type {Awaited<ReturnType<typeof startTutti>>[]} */
    const parts = [];
    /** @param {string} name @param {Record<string, string | undefined>} changes */
    const start = async (name, changes) => {
      const env = environment(name);
      for (const setting of Object.keys(changes)) {
        if (/_URL$/.test(setting)) assert.ok(env[setting], `${name} has no ${setting}`);
      }
      const admin = await freePort();
      assert.equal(env.ADMIN_ADDR, '0.0.0.0:9090');
      const [role] = services[name].command;
      const part = await startTutti({ role, env: { ...env, ...here, ...changes, ADMIN_ADDR: `127.0.0.1:${admin}` } });
      parts.push(part);
      return { part, admin };
    };
    try {
      const migrated = await must(binary(), services.migrate.command, { env: { ...environment('migrate'), ...database } });
      assert.match(migrated, /up to date/);
      const key = services.auth.environment.JWT_PRIVATE_KEY_FILE.replace('/run/secrets', folder);
      const auth = await start('auth', { ...database, JWT_PRIVATE_KEY_FILE: key, AUTH_GRPC_ADDR: '127.0.0.1:0' });
      const room = await start('room', { ...database, AUTH_URL: auth.part.url, ROOM_GRPC_ADDR: '127.0.0.1:0' });
      const gateway = await start('gateway', { AUTH_URL: auth.part.url, ROOM_URL: room.part.url });
      await eventually(async () => (await fetch(`${gateway.part.url}/readyz`)).ok, 'the gateway is ready');

      const [kind, ...check] = services.gateway.healthcheck.test;
      assert.equal(kind, 'CMD');
      const health = (/** @type {number} */ port) =>
        run(check[0], check.slice(1).map((/** @type {string} */ word) => word.replace('9090', String(port))), { env: { PATH } });
      for (const { admin } of [auth, room, gateway]) assert.equal((await health(admin)).code, 0);
      assert.notEqual((await health(await freePort())).code, 0, 'nobody there');
      const nobody = `http://127.0.0.1:${await freePort()}`;
      const alone = await start('gateway', { AUTH_URL: nobody, ROOM_URL: nobody });
      assert.notEqual((await health(alone.admin)).code, 0, 'there, but not ready');
    } finally {
      for (const part of parts.reverse()) await part.stop();
    }
  }));

void test('the balancer asks every gateway there is', () => {
  const { environment, volumes } = services.balancer;
  assert.equal(environment.GATEWAYS_DNS, 'gateway:8000');
  assert.ok(volumes[0].startsWith('./haproxy/haproxy.cfg:'));
  assert.equal(services.gateway.environment.TRUSTED_PROXIES, '${TRUSTED_PROXIES:-1}');
  assert.equal(services.gateway.environment.PUBLIC_URL, '${PUBLIC_URL:-}');
});
