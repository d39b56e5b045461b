// The tools that the tests of deploy/ share; `tests/deploy/tools` brings them.

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

export const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
export const DEPLOY = join(REPOSITORY, 'deploy');
export const CHART = join(DEPLOY, 'helm/tutti');
const TOOLS = join(REPOSITORY, 'target/deploy-tools');
const HELM = join(TOOLS, 'bin/helm');

// Debian has servers where a plain user does not look.
export const PATH = `${join(TOOLS, 'python/bin')}:${process.env.PATH}:/usr/sbin:/usr/local/sbin`;

/**
 * Runs a program to its end, and says so when it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {{input?: string, env?: Record<string, string>, cwd?: string}} [options]
 * @returns {Promise<{code: number, out: string, err: string}>}
 */
export async function run(program, args, { input, env, cwd } = {}) {
  const running = execFileAsync(program, args, {
    env: { PATH, HOME: process.env.HOME ?? '/', ...env },
    cwd,
    maxBuffer: 64 * 1024 * 1024,
  });
  running.child.stdin?.end(input);
  try {
    const { stdout, stderr } = await running;
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const failed = /** @type {{code: number | string, stdout: string, stderr: string}} */ (error);
    if (typeof failed.code !== 'number') throw error;
    return { code: failed.code, out: failed.stdout, err: failed.stderr };
  }
}

/** As `run`, for a program that must succeed. @param {Parameters<typeof run>} call */
export async function must(...call) {
  const { code, out, err } = await run(...call);
  if (code !== 0) throw new Error(`${call[0]} ${call[1].join(' ')} ended with ${code}\n${out}${err}`);
  return out;
}

const TO_JSON = 'import json,sys,yaml; json.dump([d for d in yaml.safe_load_all(sys.stdin) if d is not None], sys.stdout, default=str)';

/** Every document in a YAML text. @param {string} text @returns {Promise<any[]>} */
export async function documents(text) {
  return JSON.parse(await must('python3', ['-c', TO_JSON], { input: text }));
}

/** A YAML file of one document. @param {string} file @returns {Promise<any>} */
export async function yamlFile(file) {
  return (await documents(readFileSync(file, 'utf8')))[0];
}

/** What nobody can leave out. */
export const NEEDED = {
  image: { repository: 'registry.example/tutti' },
  database: { existingSecret: 'tutti-database' },
  redis: { existingSecret: 'tutti-redis' },
  signingKeys: { existingSecret: 'tutti-signing-keys' },
  serviceKeys: { existingSecret: 'tutti-service-keys' },
};

/** What is needed and nothing else, and the values files that show whole set-ups. */
export const SETUPS = ['needed', ...readdirSync(join(CHART, 'ci')).map((file) => `ci/${file}`)];

/**
 * @param {'template' | 'lint' | 'install'} command of helm; nothing is installed, there is no cluster
 * @param {string} setup one of SETUPS, or `nothing`
 * @param {object} [more] further values
 */
export function helm(command, setup, more = {}) {
  const name = command === 'lint' ? [] : ['music'];
  const file = setup.startsWith('ci/') ? ['--values', join(CHART, setup)] : [];
  const values = setup === 'needed' ? { ...NEEDED, ...more } : more;
  /** @type {Record<string, string[]>} */
  const flags = { lint: ['--strict', '--quiet'], install: ['--dry-run=client'] };
  return run(HELM, [command, ...name, CHART, ...(flags[command] ?? []), '--namespace', 'tutti', ...file, '--values', '-'], {
    input: JSON.stringify(values),
  });
}

/** @typedef {any} Rendered an object of Kubernetes */

/** @type {Map<string, ReturnType<typeof rendered>>} */
const known = new Map();

/**
 * What the chart makes of some values. Nobody changes what it gives.
 * @param {string} [setup]
 * @param {object} [more]
 */
export function render(setup = 'needed', more = {}) {
  const key = JSON.stringify([setup, more]);
  const result = known.get(key) ?? rendered(setup, more);
  known.set(key, result);
  return result;
}

/** @param {string} setup @param {object} more */
async function rendered(setup, more) {
  const { code, out: text, err } = await helm('template', setup, more);
  if (code !== 0) throw new Error(err);
  const all = /** @type {Rendered[]} */ (await documents(text));
  const some = (/** @type {string} */ kind) => all.filter((object) => object.kind === kind);
  return {
    text,
    all,
    some,
    /** The one of that kind and part. @param {string} kind @param {string} [part] */
    one(kind, part) {
      const found = some(kind).filter(({ metadata }) => part === undefined || metadata.name.endsWith(`-${part}`));
      if (found.length !== 1) throw new Error(`${found.length} of ${kind} ${part ?? ''}`);
      return found[0];
    },
  };
}

export const ROLES = /** @type {const} */ (['auth', 'room', 'gateway']);
