// The values of the chart: their schema refuses slips, and README, values.yaml and the program agree about them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { binary } from '../support/server.mjs';
import { CHART, helm, must, render, yamlFile } from './support.mjs';

const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8'));

void describe('the schema refuses', () => {
  const slips = /** @type {const} */ ([
    ['a word nobody knows', { gatewey: { replicas: 3 } }, /gatewey/],
    ['one deep down', { gateway: { autoscaling: { minReplica: 3 } } }, /minReplica/],
    ['a number that is text', { gateway: { replicas: 'three' } }, /gateway.replicas|\/gateway\/replicas/],
    ['a text that is a number', { settings: { RATE_API_PER_MINUTE: 600 } }, /RATE_API_PER_MINUTE/],
    ['a setting that the program does not have', { settings: { PRESENCE_GRACES: '15s' } }, /PRESENCE_GRACES/],
    ['a setting that the chart sets by itself', { settings: { DATABASE_URL: 'postgresql://ann:secret@db' } }, /DATABASE_URL/],
    ['an unknown ingress controller', { ingress: { controller: 'haproxy' } }, /controller/],
    ['a digest that is none', { image: { repository: 'x', digest: 'latest' } }, /digest/],
    ['a peer that is none', { networkPolicy: { gatewayFrom: [{ podSelektor: {} }] } }, /podSelektor/],
    ['a negative time', { drainSeconds: -1 }, /drainSeconds/],
    ['a password in the place of a Secret', { database: { existingSecret: 'tutti-database', password: 'hunter2' } }, /password/],
  ]);
  for (const [what, values, named] of slips) {
    void test(what, async () => {
      const { code, err } = await helm('template', 'needed', values);
      assert.notEqual(code, 0, 'it was taken');
      assert.match(err, named);
      assert.match(err, /schema/);
    });
  }
});

/** @param {any} node @param {string} path @returns {string[]} every object of the schema that lets anything in */
function open(node, path = '') {
  if (typeof node !== 'object' || node === null) return [];
  const here = node.type === 'object' && node.properties && node.additionalProperties !== false ? [path] : [];
  return [...here, ...Object.entries(node).flatMap(([name, child]) => open(child, `${path}/${name}`))];
}

void test('no object of the schema with members of its own takes others', () => {
  assert.deepEqual(open(schema), []);
});

/** @param {any} values @param {any} shape of the schema @param {string} path @returns {string[]} */
function leaves(values, shape, path = '') {
  const resolved = shape?.$ref ? schema.$defs[shape.$ref.split('/').at(-1)] : shape;
  const members = resolved?.properties;
  if (!members || path.endsWith('resources')) return [path];
  return Object.keys(members)
    .filter((name) => name !== 'global')
    .flatMap((name) => leaves(values?.[name], members[name], path ? `${path}.${name}` : name));
}

void test('README has every value, and none that is not there', async () => {
  const readme = readFileSync(join(CHART, 'README.md'), 'utf8');
  const tables = readme.slice(readme.indexOf('## Values')).split('\n').filter((line) => line.startsWith('| `'));
  const said = new Set(
    tables
      .flatMap((line) => [...line.split('|')[1].matchAll(/`([^`]+)`/g)].map(([, name]) => name))
      .flatMap((name) => (name.startsWith('*.') ? ['gateway', 'auth', 'room'].map((role) => role + name.slice(1)) : [name])),
  );
  const there = leaves(await yamlFile(join(CHART, 'values.yaml')), schema);
  assert.deepEqual(there.filter((name) => !said.has(name)), [], 'missing in README');
  assert.deepEqual([...said].filter((name) => !there.includes(name)), [], 'only in README');
});

void test('values.yaml has a default for every value of the schema', async () => {
  const values = await yamlFile(join(CHART, 'values.yaml'));
  const at = (/** @type {string} */ path) => path.split('.').reduce((object, name) => object?.[name], values);
  assert.deepEqual(leaves(values, schema).filter((path) => at(path) === undefined), []);
});

void test("`settings` takes exactly what the program has and the chart does not set", async () => {
  const help = await must(binary(), ['--help']);
  const program = [...help.matchAll(/\[env: ([A-Z0-9_]+)/g)].map(([, name]) => name);
  const rendered = await render('ci/large-values.yaml');
  const ours = rendered
    .some('Deployment')
    .flatMap(({ spec }) => spec.template.spec.containers[0].env.map((/** @type {any} */ one) => one.name));
  const taken = schema.properties.settings.propertyNames.enum;
  const elsewhere = [...ours.filter((/** @type {string} */ name) => !['ALLOWED_ORIGINS', 'PRESENCE_GRACE'].includes(name)), 'TUTTI_DATA_DIR'];
  assert.deepEqual([...taken].sort(), program.filter((name) => !elsewhere.includes(name)).sort());
});

void test('the metric that README tells the adapter about is the one the autoscaler asks for', async () => {
  const [metric] = (await render('ci/large-values.yaml')).one('HorizontalPodAutoscaler', 'gateway').spec.metrics;
  const readme = readFileSync(join(CHART, 'README.md'), 'utf8');
  assert.ok(readme.includes(`seriesQuery: '${metric.pods.metric.name}{`));
  assert.ok(readme.includes(`name: {as: ${metric.pods.metric.name}}`));
});
