// What the chart renders, looked at as Kubernetes would.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CHART, helm, must, NEEDED, render, ROLES, SETUPS, yamlFile } from './support.mjs';

/** The oldest that Chart.yaml promises, and the newest whose schema is there. */
const KUBERNETES = ['1.30', '1.37'];

/** @typedef {import('./support.mjs').Rendered} Rendered */

/** @param {Rendered} object a Deployment or Job */
const podOf = (object) => object.spec.template.spec;
/** @param {Rendered} object */
const containerOf = (object) => podOf(object).containers[0];
/** @param {Rendered} object @returns {Map<string, any>} the variables, with what they are taken from */
const envOf = (object) => new Map(containerOf(object).env.map((/** @type {any} */ one) => [one.name, one.value ?? one.valueFrom]));
/** @param {Record<string, string>} wanted @param {Record<string, string>} labels */
const selects = (wanted, labels) => Object.entries(wanted).every(([name, value]) => labels[name] === value);

/** Whatever can be said of Pods. */
const SAID = {
  podAnnotations: { 'example.org/team': 'music' },
  podLabels: { 'example.org/tier': 'front' },
  nodeSelector: { 'kubernetes.io/arch': 'amd64' },
  tolerations: [{ key: 'music', operator: 'Exists', effect: 'NoSchedule' }],
  affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
  priorityClassName: 'high',
  topologySpread: { node: '', zone: 'DoNotSchedule' },
};
const EVERYTHING = {
  ...Object.fromEntries(ROLES.map((role) => [role, SAID])),
  gateway: { ...SAID, service: { type: 'LoadBalancer' } },
  image: { repository: 'tutti', tag: '1.2.3', pullSecrets: ['registry'] },
  serviceAccount: { create: false, name: 'ours' },
  networkPolicy: { extraEgress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }] }] },
};

void describe('Kubernetes takes every set-up', { concurrency: true }, () => {
  for (const version of KUBERNETES) {
    void test(`the strict schema of ${version}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'tutti-chart-'));
      try {
        const renders = [...SETUPS.map((setup) => render(setup)), render('needed', EVERYTHING)];
        const files = (await Promise.all(renders)).map(({ text }, index) => {
          const file = join(folder, `${SETUPS[index]?.replace('/', '-') ?? 'everything'}.yaml`);
          writeFileSync(file, text);
          return file;
        });
        await must('kubernetes-validate', ['-k', version, '--strict', '--quiet', ...files]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});

void describe('every set-up', { concurrency: true }, () => {
  for (const setup of SETUPS) {
    void test(`${setup}: helm lint finds nothing`, async () => {
      const { code, out, err } = await helm('lint', setup);
      assert.equal(code, 0, out + err);
    });

    void test(`${setup}: who installs it is told where it is`, async () => {
      const { code, out, err } = await helm('install', setup);
      assert.equal(code, 0, err);
      const [, notes] = out.split('NOTES:');
      const [ingress] = (await render(setup)).some('Ingress');
      assert.ok(notes.includes(ingress ? `Open https://${ingress.spec.rules[0].host}\n` : 'port-forward service/music-tutti-gateway 8000:8000'), notes);
      assert.ok(!notes.includes('<no value>'));
      const [entrance] = (await render(setup)).one('NetworkPolicy', 'gateway').spec.ingress;
      assert.equal(notes.includes('X-Forwarded-For'), entrance.from === undefined, 'and who may make up an address');
    });

    void test(`${setup}: every selector finds its Pods, and only those`, async () => {
      const rendered = await render(setup);
      /** @type {Record<string, Record<string, string>>} */
      const pods = {};
      for (const workload of [...rendered.some('Deployment'), ...rendered.some('Job')]) {
        pods[containerOf(workload).name] = workload.spec.template.metadata.labels;
      }
      const found = (/** @type {Record<string, string>} */ wanted) =>
        Object.keys(pods).filter((name) => selects(wanted, pods[name])).sort();
      for (const role of ROLES) {
        assert.deepEqual(found(rendered.one('Deployment', role).spec.selector.matchLabels), [role]);
        assert.deepEqual(found(rendered.one('PodDisruptionBudget', role).spec.selector.matchLabels), [role]);
        assert.deepEqual(found(rendered.one('Service', role).spec.selector), [role]);
        for (const spread of podOf(rendered.one('Deployment', role)).topologySpreadConstraints) {
          assert.deepEqual(found(spread.labelSelector.matchLabels), [role]);
        }
      }
      assert.deepEqual(found(rendered.one('Service', 'admin').spec.selector), ['auth', 'gateway', 'room']);
    });

    void test(`${setup}: the Pods keep to the restricted profile and to a read-only file system`, async () => {
      const rendered = await render(setup);
      const workloads = [...rendered.some('Deployment'), ...rendered.some('Job')];
      assert.equal(workloads.length, 4);
      for (const workload of workloads) {
        const pod = podOf(workload);
        assert.equal(pod.automountServiceAccountToken, false);
        assert.equal(pod.enableServiceLinks, false);
        assert.equal(pod.securityContext.runAsNonRoot, true);
        assert.equal(pod.securityContext.runAsUser, 10001, 'as in the Dockerfile');
        assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' });
        assert.equal(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC, undefined);
        for (const container of pod.containers) {
          assert.deepEqual(container.securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          assert.ok(container.resources.requests.cpu && container.resources.requests.memory && container.resources.limits.memory);
        }
        for (const volume of pod.volumes ?? []) assert.ok(volume.secret, 'nothing is written');
      }
    });

    void test(`${setup}: probes are on the admin port, and it listens to others than itself`, async () => {
      const rendered = await render(setup);
      for (const role of ROLES) {
        const container = containerOf(rendered.one('Deployment', role));
        const { startupProbe, readinessProbe, livenessProbe } = container;
        assert.deepEqual(startupProbe.httpGet, { path: '/healthz', port: 'admin' });
        assert.deepEqual(readinessProbe.httpGet, { path: '/readyz?exclude=writes', port: 'admin' });
        assert.deepEqual(livenessProbe.httpGet, { path: '/healthz', port: 'admin' });
        const { containerPort } = container.ports.find((/** @type {any} */ port) => port.name === 'admin');
        assert.equal(envOf(rendered.one('Deployment', role)).get('ADMIN_ADDR'), `0.0.0.0:${containerPort}`);
        // A gateway that drains is out before its listeners start to move.
        assert.ok(readinessProbe.periodSeconds * readinessProbe.failureThreshold <= 5);
      }
    });

    void test(`${setup}: Pods have the time to end in order`, async () => {
      const rendered = await render(setup);
      for (const role of ROLES) {
        const deployment = rendered.one('Deployment', role);
        const drain = Number.parseInt(envOf(deployment).get('DRAIN_TIME') ?? '0', 10);
        const before = containerOf(deployment).lifecycle.preStop.sleep.seconds;
        assert.ok(before > 0);
        assert.ok(podOf(deployment).terminationGracePeriodSeconds >= before + drain + 5, role);
        assert.equal(envOf(deployment).has('DRAIN_TIME'), role === 'gateway');
        assert.deepEqual(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0);
      }
    });

    void test(`${setup}: replicas are the autoscaler's or ours, never both, and a Pod may always go`, async () => {
      const rendered = await render(setup);
      for (const role of ROLES) {
        const { replicas } = rendered.one('Deployment', role).spec;
        const scaler = rendered.some('HorizontalPodAutoscaler').find(({ spec }) => spec.scaleTargetRef.name.endsWith(role));
        assert.equal(replicas === undefined, scaler !== undefined, role);
        if (scaler) {
          assert.equal(scaler.spec.scaleTargetRef.name, rendered.one('Deployment', role).metadata.name);
          assert.ok(scaler.spec.minReplicas <= scaler.spec.maxReplicas);
        }
        const { spec } = rendered.one('PodDisruptionBudget', role);
        assert.ok(Number.parseInt(spec.maxUnavailable, 10) > 0, 'otherwise no node could ever be emptied');
        assert.equal(spec.minAvailable, undefined);
      }
    });

    void test(`${setup}: secrets are referred to and never rendered`, async () => {
      const rendered = await render(setup);
      assert.deepEqual(rendered.some('Secret'), []);
      for (const workload of [...rendered.some('Deployment'), ...rendered.some('Job')]) {
        const env = envOf(workload);
        for (const name of ['DATABASE_URL', 'REDIS_URL', 'SERVICE_KEYS']) {
          if (env.has(name)) assert.ok(env.get(name).secretKeyRef.name, name);
        }
      }
      const has = (/** @type {string} */ role) => [...envOf(rendered.one('Deployment', role)).keys()];
      assert.ok(!has('gateway').includes('DATABASE_URL'), 'a gateway never touches SQL');
      assert.ok(!has('gateway').includes('JWT_PRIVATE_KEY_FILE') && !has('room').includes('JWT_PRIVATE_KEY_FILE'));
      const mounts = (/** @type {string} */ role) =>
        (containerOf(rendered.one('Deployment', role)).volumeMounts ?? []).map((/** @type {any} */ mount) => mount.name);
      assert.ok(mounts('auth').includes('signing-keys'));
      assert.ok(!mounts('gateway').includes('signing-keys') && !mounts('room').includes('signing-keys'));
    });

    void test(`${setup}: the schema is up to date before anything else starts`, async () => {
      const rendered = await render(setup);
      const hooks = rendered.all.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook']);
      hooks.sort((a, b) => Number(a.metadata.annotations['helm.sh/hook-weight']) - Number(b.metadata.annotations['helm.sh/hook-weight']));
      assert.deepEqual(hooks.map(({ kind }) => kind), ['NetworkPolicy', 'Job'], 'the way to the database first');
      for (const hook of hooks) {
        assert.equal(hook.metadata.annotations['helm.sh/hook'], 'pre-install,pre-upgrade');
        assert.match(hook.metadata.annotations['helm.sh/hook-delete-policy'], /before-hook-creation/);
      }
      const job = rendered.one('Job');
      assert.deepEqual(containerOf(job).args, ['migrate']);
      // What the chart makes is made after its hooks.
      const made = rendered.some('ServiceAccount').map(({ metadata }) => metadata.name);
      assert.ok(!made.includes(podOf(job).serviceAccountName));
    });

    void test(`${setup}: the network lets through the picture and nothing else`, async () => {
      const rendered = await render(setup);
      const role = (/** @type {any} */ peer) => peer.podSelector.matchLabels['app.kubernetes.io/component'];
      const ours = (/** @type {any} */ peer) => peer.podSelector?.matchLabels?.['app.kubernetes.io/instance'] === 'music';
      /** @type {string[]} */
      const into = [];
      /** @type {string[]} */
      const outOf = [];
      for (const { metadata, spec } of rendered.some('NetworkPolicy')) {
        const self = metadata.name.split('-').at(-1);
        assert.deepEqual(spec.policyTypes, ['Ingress', 'Egress']);
        assert.equal(spec.podSelector.matchLabels['app.kubernetes.io/component'], self);
        for (const { from, ports } of spec.ingress) {
          for (const peer of from ?? [undefined]) {
            const who = peer === undefined ? 'everybody' : ours(peer) ? role(peer) : 'others';
            into.push(...ports.map((/** @type {any} */ { port }) => `${who} > ${self}:${port}`));
          }
        }
        for (const { to, ports } of spec.egress) {
          for (const peer of to ?? [undefined]) {
            const whom = peer !== undefined && ours(peer) ? role(peer) : 'outside';
            outOf.push(...ports.map((/** @type {any} */ { port }) => `${self} > ${whom}:${port}`));
          }
        }
      }
      const large = setup.includes('large');
      const metrics = ROLES.map((each) => `others > ${each}:admin`);
      assert.deepEqual(
        into.sort(),
        [
          'gateway > auth:grpc',
          'room > auth:grpc',
          'gateway > room:grpc',
          ...(large ? ['others > gateway:http', 'others > room:grpc', ...metrics] : ['everybody > gateway:http']),
        ].sort(),
      );
      const names = ['auth:53', 'room:53', 'gateway:53', 'migrate:53'].flatMap((one) => {
        const [self, port] = one.split(':');
        return [`${self} > outside:${port}`, `${self} > outside:${port}`]; // UDP and TCP
      });
      assert.deepEqual(
        outOf.sort(),
        [
          ...names,
          'gateway > auth:50051',
          'gateway > room:50052',
          'room > auth:50051',
          'auth > outside:5432',
          'room > outside:5432',
          'migrate > outside:5432',
          ...ROLES.map((each) => `${each} > outside:6379`),
          ...(large ? ROLES.map((each) => `${each} > outside:4318`) : []),
          // IPv4 and IPv6.
          ...['gateway > outside:80', 'gateway > outside:443'].flatMap((one) => [one, one]),
        ].sort(),
      );
      // The ports by name and by number are the same.
      for (const [part, number] of /** @type {const} */ ([['auth', 50051], ['room', 50052]])) {
        assert.equal(containerOf(rendered.one('Deployment', part)).ports[0].containerPort, number);
        const service = rendered.one('Service', part).spec;
        assert.equal(service.clusterIP, 'None', 'callers balance over the Pods themselves');
        assert.equal(service.ports[0].port, number);
      }
    });
  }
});

void test('the parts find each other by the names of their Services', async () => {
  const rendered = await render();
  const url = (/** @type {string} */ role, /** @type {string} */ name) => envOf(rendered.one('Deployment', role)).get(name);
  const host = (/** @type {string} */ part) => `${rendered.one('Service', part).metadata.name}.tutti.svc.cluster.local`;
  assert.equal(url('gateway', 'AUTH_URL'), `http://${host('auth')}:50051`);
  assert.equal(url('room', 'AUTH_URL'), `http://${host('auth')}:50051`);
  assert.equal(url('gateway', 'ROOM_URL'), `http://${host('room')}:50052`);
});

void test('gateways know where people open them', async () => {
  const url = async (/** @type {any} */ values) => envOf((await render('ci/small-values.yaml', values)).one('Deployment', 'gateway')).get('PUBLIC_URL');
  assert.equal(await url({}), 'https://tutti.example');
  assert.equal(await url({ ingress: { tlsSecret: '' } }), 'http://tutti.example');
  assert.equal(await url({ publicUrl: 'https://music.example' }), 'https://music.example');
  assert.equal(await url({ ingress: { enabled: false } }), undefined);
});

void test('TLS between the parts: files of the Secret, and https', async () => {
  const rendered = await render('ci/large-values.yaml');
  for (const role of ROLES) {
    const deployment = rendered.one('Deployment', role);
    const env = envOf(deployment);
    const mount = containerOf(deployment).volumeMounts.find((/** @type {any} */ one) => one.name === 'grpc-tls').mountPath;
    assert.equal(env.get('GRPC_TLS_CERT_FILE'), `${mount}/tls.crt`);
    assert.equal(env.get('GRPC_TLS_KEY_FILE'), `${mount}/tls.key`);
    assert.equal(env.get('GRPC_TLS_CA_FILE'), `${mount}/ca.crt`);
    assert.equal(env.get('GRPC_TLS_CLIENT_CA_FILE'), `${mount}/ca.crt`);
    for (const name of ['AUTH_URL', 'ROOM_URL']) if (env.has(name)) assert.match(env.get(name), /^https:/);
  }
  const oneWay = await render('ci/large-values.yaml', { grpcTls: { mutual: false } });
  assert.ok(!envOf(oneWay.one('Deployment', 'auth')).has('GRPC_TLS_CLIENT_CA_FILE'));
});

void test('a private authority of Redis is mounted where the program looks for it', async () => {
  const rendered = await render('ci/large-values.yaml');
  for (const role of ROLES) {
    const deployment = rendered.one('Deployment', role);
    const mount = containerOf(deployment).volumeMounts.find((/** @type {any} */ one) => one.name === 'redis-ca');
    assert.equal(envOf(deployment).get('REDIS_TLS_CA_FILE'), `${mount.mountPath}/ca.crt`);
    assert.equal(podOf(deployment).volumes.find((/** @type {any} */ one) => one.name === 'redis-ca').secret.secretName, 'redis-ca');
  }
});

void describe('long-polling is sticky', () => {
  const nginx = 'nginx.ingress.kubernetes.io';
  const traefik = 'traefik.ingress.kubernetes.io/service.sticky.cookie';

  void test('behind ingress-nginx, by annotations of the Ingress', async () => {
    const { annotations } = (await render('ci/large-values.yaml')).one('Ingress').metadata;
    assert.equal(annotations[`${nginx}/affinity`], 'cookie');
    assert.equal(annotations[`${nginx}/session-cookie-name`], 'tutti_gateway');
    assert.ok(Number(annotations[`${nginx}/proxy-read-timeout`]) > 25 + 20, "longer than a ping's interval and timeout");
  });

  void test('behind Traefik, by annotations of the Service', async () => {
    const rendered = await render('ci/small-values.yaml');
    const { annotations } = rendered.one('Service', 'gateway').metadata;
    assert.equal(annotations[traefik], 'true');
    assert.equal(annotations[`${traefik}.name`], 'tutti_gateway');
    assert.equal(annotations[`${traefik}.secure`], 'true');
    assert.equal(rendered.one('Ingress').metadata.annotations, undefined);
  });

  void test("straight from outside, by the client's address", async () => {
    const { spec } = (await render('needed', { gateway: { service: { type: 'LoadBalancer' } } })).one('Service', 'gateway');
    assert.equal(spec.sessionAffinity, 'ClientIP');
    assert.equal(spec.externalTrafficPolicy, 'Local', 'otherwise it is the address of a node');
    assert.equal((await render()).one('Service', 'gateway').spec.sessionAffinity, undefined, 'an ingress has its own way');
  });

  void test("behind something else, by the operator's own, which always win", async () => {
    const other = await render('ci/large-values.yaml', { ingress: { controller: 'none', annotations: { 'example.org/sticky': 'yes' } } });
    assert.deepEqual(other.one('Ingress').metadata.annotations, { 'example.org/sticky': 'yes' });
    const own = await render('ci/large-values.yaml', { ingress: { annotations: { [`${nginx}/proxy-read-timeout`]: '300' } } });
    assert.equal(own.one('Ingress').metadata.annotations[`${nginx}/proxy-read-timeout`], '300');
  });
});

void describe('gateways are scaled', () => {
  void test('by connections', async () => {
    const [metric] = (await render('ci/large-values.yaml')).one('HorizontalPodAutoscaler', 'gateway').spec.metrics;
    assert.equal(metric.pods.metric.name, 'tutti_gateway_connections');
    assert.deepEqual(metric.pods.target, { type: 'AverageValue', averageValue: '20000' });
  });

  void test('by processor otherwise, and of that something is requested', async () => {
    const rendered = await render('needed', { gateway: { autoscaling: { enabled: true } } });
    const { spec } = rendered.one('HorizontalPodAutoscaler', 'gateway');
    assert.equal(spec.metrics[0].resource.target.averageUtilization, 70);
    assert.ok(spec.behavior.scaleDown.policies[0].value === 1, 'each Pod that goes moves people');
  });

  void test('never between bounds that contradict each other', async () => {
    const { code, err } = await helm('template', 'needed', { gateway: { autoscaling: { enabled: true, minReplicas: 5, maxReplicas: 2 } } });
    assert.notEqual(code, 0);
    assert.match(err, /gateway\.autoscaling\.maxReplicas is less than minReplicas/);
  });
});

void test('what is not set is named, all at once', async () => {
  const { code, err } = await helm('template', 'nothing');
  assert.notEqual(code, 0);
  for (const name of ['image.repository', 'database.existingSecret', 'redis.existingSecret', 'signingKeys.existingSecret', 'serviceKeys.existingSecret']) {
    assert.ok(err.includes(name), `${name} is not in ${err}`);
  }
  const { redis: _, ...others } = NEEDED;
  const one = await helm('template', 'nothing', others);
  assert.match(one.err, /redis\.existingSecret: a Secret with the address of Redis/);
  assert.ok(!one.err.includes('database.existingSecret'));
  assert.match((await helm('template', 'needed', { ingress: { enabled: true } })).err, /ingress\.host/);
});

void test('a Prometheus operator gets the rules that Prometheus gets, and Grafana the dashboard', async () => {
  const rendered = await render('ci/large-values.yaml');
  assert.deepEqual(rendered.one('PrometheusRule').spec, await yamlFile(join(CHART, 'files/tutti-rules.yaml')));
  const monitor = rendered.one('ServiceMonitor').spec;
  const service = rendered.one('Service', 'admin');
  assert.ok(selects(monitor.selector.matchLabels, service.metadata.labels));
  assert.equal(monitor.endpoints[0].port, service.spec.ports[0].name);
  assert.match(service.metadata.labels[monitor.jobLabel], /tutti/, 'the alert rules go by the name of the job');
  assert.equal(service.spec.publishNotReadyAddresses, true, 'who is not ready is the one to look at');
  const dashboard = rendered.some('ConfigMap')[0].data['tutti.json'];
  assert.deepEqual(JSON.parse(dashboard), JSON.parse(readFileSync(join(CHART, 'files/tutti.json'), 'utf8')));
});

void test('whatever can be said of Pods gets to them', async () => {
  const rendered = await render('needed', EVERYTHING);
  assert.deepEqual(rendered.some('ServiceAccount'), []);
  for (const role of ROLES) {
    const { metadata, spec } = rendered.one('Deployment', role).spec.template;
    assert.equal(metadata.labels['example.org/tier'], 'front');
    assert.deepEqual(metadata.annotations, SAID.podAnnotations);
    for (const name of /** @type {const} */ (['nodeSelector', 'tolerations', 'affinity', 'priorityClassName'])) assert.deepEqual(spec[name], SAID[name]);
    assert.deepEqual(spec.topologySpreadConstraints.map((/** @type {any} */ one) => one.topologyKey), ['topology.kubernetes.io/zone']);
    assert.deepEqual(spec.imagePullSecrets, [{ name: 'registry' }]);
  }
  for (const workload of [...rendered.some('Deployment'), rendered.one('Job')]) {
    assert.equal(podOf(workload).serviceAccountName, 'ours');
    assert.equal(containerOf(workload).image, 'tutti:1.2.3');
  }
  for (const { spec } of rendered.some('NetworkPolicy')) assert.equal(spec.egress.at(-1).to[0].ipBlock.cidr, '10.0.0.0/8');
});

void test('further variables and volumes reach every container', async () => {
  const rendered = await render('needed', {
    settings: { PRESENCE_GRACE: '20s' },
    extraEnv: [{ name: 'SSL_CERT_FILE', value: '/etc/ca/ca.crt' }],
    extraVolumes: [{ name: 'ca', secret: { secretName: 'our-ca' } }],
    extraVolumeMounts: [{ name: 'ca', mountPath: '/etc/ca', readOnly: true }],
    room: { extraEnv: [{ name: 'RUST_BACKTRACE', value: '1' }] },
  });
  for (const workload of [...rendered.some('Deployment'), ...rendered.some('Job')]) {
    assert.equal(envOf(workload).get('SSL_CERT_FILE'), '/etc/ca/ca.crt');
    assert.ok(containerOf(workload).volumeMounts.some((/** @type {any} */ mount) => mount.name === 'ca'));
    assert.ok(podOf(workload).volumes.some((/** @type {any} */ volume) => volume.name === 'ca'));
  }
  assert.equal(envOf(rendered.one('Deployment', 'room')).get('RUST_BACKTRACE'), '1');
  assert.equal(envOf(rendered.one('Deployment', 'auth')).get('RUST_BACKTRACE'), undefined);
  for (const role of ROLES) assert.equal(envOf(rendered.one('Deployment', role)).get('PRESENCE_GRACE'), '20s');
});
