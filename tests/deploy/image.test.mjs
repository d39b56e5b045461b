// The container image, as far as that can be said without building it.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { DEPLOY, must, REPOSITORY } from './support.mjs';

const dockerfile = readFileSync(join(DEPLOY, 'Dockerfile'), 'utf8');

void test('hadolint finds nothing', async () => {
  await must('hadolint', [join(DEPLOY, 'Dockerfile')]);
});

void test('it runs tutti, as nobody in particular', () => {
  assert.match(dockerfile, /^ENTRYPOINT \["tutti"\]$/m);
  assert.match(dockerfile, /^USER 10001:10001$/m, 'in numbers, the ones of the chart');
  // A role writes nothing, and a volume without a name would be left behind by each of its containers.
  assert.doesNotMatch(dockerfile, /^VOLUME/m);
});

void test('what goes to the builder is enough to build from, and holds no secrets', () => {
  const ignored = readFileSync(join(REPOSITORY, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const name of ['deploy', 'target', 'tutti-data', '.git']) assert.ok(ignored.includes(name), name);
  const isSent = (/** @type {string} */ name) =>
    name.split('/').every((_, index, parts) => {
      const above = parts.slice(0, index + 1).join('/');
      return !ignored.some((line) => (line.startsWith('**/') ? above.endsWith(line.slice(2)) : line === '*.md' ? /^[^/]*\.md$/.test(above) : above === line));
    });
  /** @type {string[]} */
  const needed = ['Cargo.lock', 'rust-toolchain.toml', 'static', 'migrations', 'proto/tutti'];
  const manifest = readFileSync(join(REPOSITORY, 'Cargo.toml'), 'utf8');
  const [, members] = /** @type {RegExpExecArray} */ (/^members = \[(.*)\]/m.exec(manifest));
  for (const [, member] of members.matchAll(/"([^"]+)"/g)) {
    needed.push(`${member}/Cargo.toml`);
    for (const entry of readdirSync(join(REPOSITORY, member, 'src'), { recursive: true, encoding: 'utf8' })) {
      const file = join(member, 'src', entry);
      if (!file.endsWith('.rs')) continue;
      // What is compiled in, and stands elsewhere.
      for (const [, path] of readFileSync(join(REPOSITORY, file), 'utf8').matchAll(/include_(?:str|bytes)!\("([^"]+)"\)/g)) {
        needed.push(join(dirname(file), path));
      }
    }
  }
  for (const name of needed) {
    assert.ok(existsSync(join(REPOSITORY, name)), name);
    assert.ok(isSent(name), `${name} is ignored`);
  }
});
