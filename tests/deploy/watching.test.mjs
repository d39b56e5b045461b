// What watches Tutti: alert rules, the dashboard, and that both speak of metrics that there are.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEPLOY, must, REPOSITORY, yamlFile } from './support.mjs';

const RULES = join(DEPLOY, 'prometheus/tutti-rules.yaml');
const ALERT_TESTS = join(REPOSITORY, 'tests/deploy/alerts/tutti.test.yaml');

/** Every metric and the labels it has of its own. A histogram is named without its endings. */
const METRICS = new Map([
  ['tutti_gateway_connections', []],
  ['tutti_gateway_rooms', []],
  ['tutti_gateway_joins_total', []],
  ['tutti_gateway_events_in_total', ['event']],
  ['tutti_gateway_events_out_total', ['event']],
  ['tutti_gateway_fanout_seconds', []],
  ['tutti_gateway_slow_readers_total', []],
  ['tutti_gateway_draining', []],
  ['tutti_http_seconds', ['route', 'status']],
  ['tutti_room_sync_age_seconds', []],
  ['tutti_room_syncs_total', []],
  ['tutti_room_leases_expired_total', []],
  ['tutti_room_host_changes_total', ['reason']],
  ['tutti_rpc_seconds', ['method']],
  ['tutti_rpc_calls_total', ['method', 'code']],
  ['tutti_sql_seconds', ['statement']],
  ['tutti_sql_pool_connections', ['state']],
  ['tutti_redis_seconds', ['call']],
  ['tutti_redis_reconnects_total', []],
  ['tutti_gateway_feeds_broken_total', ['reason']],
  ['tutti_rate_limited_total', ['limit']],
  ['tutti_password_hashes_total', []],
  ['tutti_clock_offset_seconds', []],
  ['tutti_clock_redis_offset_seconds', []],
  ['tutti_playback_error_seconds', ['player']],
  ['tutti_playback_dropouts_total', ['player']],
  ['tutti_client_round_trip_seconds', []],
  ['tutti_gateway_pong_seconds', []],
]);

/** What Prometheus adds to each. */
const ADDED = ['namespace', 'job', 'instance', 'pod', 'role'];

const dashboard = JSON.parse(readFileSync(join(DEPLOY, 'grafana/tutti.json'), 'utf8'));
/** @type {{id: number, type: string, title: string, gridPos: {x: number, y: number, w: number, h: number}, targets?: {expr: string}[]}[]} */
const panels = dashboard.panels;
const queries = panels.flatMap((panel) => (panel.targets ?? []).map(({ expr }) => expr));
const rules = /** @type {{alert: string, expr: string, annotations: {summary: string}, labels: {severity: string}}[]} */ (
  (await yamlFile(RULES)).groups.flatMap((/** @type {any} */ group) => group.rules)
);

/** @param {string} name @returns {string} a histogram's without its ending */
const family = (name) => (METRICS.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''));

void test('Prometheus takes the rules', async () => {
  await must('promtool', ['check', 'rules', RULES]);
});

void test('each alert comes when it should, and only then', async () => {
  await must('promtool', ['test', 'rules', ALERT_TESTS]);
  const cases = (await yamlFile(ALERT_TESTS)).tests.flatMap((/** @type {any} */ one) => one.alert_rule_test);
  for (const { alert } of rules) {
    const own = cases.filter((/** @type {any} */ one) => one.alertname === alert);
    assert.ok(own.some((/** @type {any} */ one) => one.exp_alerts.length > 0), `${alert} is never seen to come`);
    assert.ok(own.some((/** @type {any} */ one) => one.exp_alerts.length === 0), `${alert} is never seen to stay away`);
  }
});

void test('each alert says what it is about and how bad', () => {
  for (const { alert, annotations, labels } of rules) {
    assert.match(alert, /^Tutti/);
    assert.ok(annotations.summary.endsWith('.'), alert);
    assert.ok(['info', 'warning', 'critical'].includes(labels.severity), alert);
  }
});

void test('rules and dashboard speak of metrics that there are, by labels that they have', () => {
  for (const query of [...rules.map(({ expr }) => expr), ...queries]) {
    const names = [...query.matchAll(/\btutti_[a-z_]+/g)].map(([name]) => family(name));
    assert.ok(names.length > 0 || query.includes('up{'), query);
    const labels = new Set(ADDED);
    for (const name of names) {
      assert.ok(METRICS.has(name), `${name} in ${query}`);
      for (const label of METRICS.get(name) ?? []) labels.add(label);
    }
    if (query.includes('_bucket')) labels.add('le');
    const used = [
      ...[...query.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label),
      ...[...query.matchAll(/\b(?:by|ignoring|on)\s*\(([^)]*)\)/g)].flatMap(([, list]) => list.split(',').map((label) => label.trim())),
    ];
    for (const label of used) assert.ok(labels.has(label), `the label ${label} in ${query}`);
  }
});

void test('the program counts nothing under another name or by other labels', () => {
  const services = join(REPOSITORY, 'services');
  const sources = readdirSync(services, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.rs'));
  const calls = sources.flatMap((file) => {
    const text = readFileSync(join(services, file), 'utf8');
    return [...text.matchAll(/metrics::(?:counter|gauge|histogram)!\(\s*"(tutti_\w+)"([^;]*);/g)];
  });
  assert.ok(calls.length > 5, 'these are where they are thought to be');
  for (const [, name, list] of calls) {
    assert.ok(METRICS.has(name), `${name} is not known here`);
    assert.deepEqual([...list.matchAll(/"(\w+)"\s*=>/g)].map(([, label]) => label), METRICS.get(name), name);
  }
});

void test('what an alert waits for can be measured', () => {
  const telemetry = readFileSync(join(REPOSITORY, 'services/common/src/telemetry.rs'), 'utf8');
  const [, list] = /** @type {RegExpExecArray} */ (/_BUCKETS: \[f64; \d+\] = \[([^\]]+)\]/.exec(telemetry));
  const longest = Math.max(...list.split(',').map((bucket) => Number(bucket.trim().replaceAll('_', ''))));
  for (const { alert, expr } of rules.filter(({ expr }) => expr.includes('histogram_quantile'))) {
    const threshold = Number(/> ([\d.]+)\s*$/.exec(expr.trim())?.[1]);
    // Whatever is longer than the longest bucket counts as that one.
    assert.ok(threshold < longest, `${alert} waits for ${threshold} s, and ${longest} s is the longest time there is`);
  }
});

void test('every metric is on the dashboard', () => {
  const shown = new Set(queries.flatMap((query) => [...query.matchAll(/\btutti_[a-z_]+/g)].map(([name]) => family(name))));
  assert.deepEqual([...METRICS.keys()].filter((name) => !shown.has(name)), []);
});

void test("Prometheus can read the dashboard's queries", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tutti-dashboard-'));
  try {
    const records = queries.map((query, index) => ({
      record: `query_${index}`,
      expr: query.replaceAll('$__rate_interval', '5m').replaceAll(/\$(namespace|job)/g, '.*'),
    }));
    const file = join(folder, 'queries.yaml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: records }] }));
    await must('promtool', ['check', 'rules', file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

void test('panels of the dashboard stand side by side, each with a name and a query', () => {
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Map();
  for (const { title, type, targets, gridPos } of panels) {
    assert.ok(title);
    if (type !== 'row') assert.ok(targets?.length, title);
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.equal(taken.get(`${x}:${y}`), undefined, `${title} lies on ${taken.get(`${x}:${y}`)}`);
        taken.set(`${x}:${y}`, title);
      }
    }
  }
});
