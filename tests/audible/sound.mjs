// A sound server of our own, with a sink for each listener and one recording of them all: what is compared has gone
// through the same clock.

import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { SAMPLE_RATE } from './song.mjs';

const READY_MS = 15_000;
const SETTINGS = [
  `default-sample-rate = ${SAMPLE_RATE}`, `alternate-sample-rate = ${SAMPLE_RATE}`, 'exit-idle-time = -1', 'flat-volumes = no',
  'default-sample-format = float32le', 'enable-shm = no', 'default-fragment-size-msec = 10',
];

/** @type {Set<() => void>} */
const endings = new Set();
process.on('exit', () => { for (const end of endings) end(); });

/**
 * @typedef {object} Recording
 * @property {Int16Array[]} channels one a listener
 * @property {number} startedAtMs the machine's clock at the first sample, Unix milliseconds
 */

/** @param {number} listeners */
export async function startSound(listeners) {
  const folder = mkdtempSync(join(tmpdir(), 'tutti-sound-'));
  const socket = join(folder, 'native');
  const home = join(folder, 'home');
  mkdirSync(home, { mode: 0o700 });
  writeFileSync(join(folder, 'daemon.conf'), `${SETTINGS.join('\n')}\n`);
  const map = Array.from({ length: listeners }, (_, index) => `aux${index}`).join(',');
  const modules = [
    `module-native-protocol-unix auth-anonymous=1 socket=${socket}`,
    `module-null-sink sink_name=all rate=${SAMPLE_RATE} channels=${listeners} channel_map=${map} norewinds=yes`,
    ...Array.from({ length: listeners }, (_, index) => (
      `module-remap-sink sink_name=listener${index} master=all channels=1 channel_map=mono master_channel_map=aux${index} remix=no`)),
  ];
  const env = {
    ...process.env, HOME: home, PULSE_RUNTIME_PATH: home, PULSE_STATE_PATH: home, PULSE_CONFIG: join(folder, 'daemon.conf'),
    PULSE_SERVER: '', DBUS_SESSION_BUS_ADDRESS: 'disabled:',
  };
  const flags = ['-n', '--daemonize=no', '--use-pid-file=no', '--disallow-exit=yes', '--log-target=stderr', '--log-level=error'];
  const server = spawn('pulseaudio', [...flags, ...modules.flatMap((module) => ['-L', module])], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const end = () => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  endings.add(end);
  let said = '';
  let gone = false;
  server.stderr.on('data', (text) => { said += text; });
  server.on('error', (error) => { gone = true; said += error.message; });
  server.on('exit', () => { gone = true; });

  const client = { ...process.env, PULSE_SERVER: `unix:${socket}`, PULSE_RUNTIME_PATH: home };
  const deadline = performance.now() + READY_MS;
  const there = () => existsSync(socket) && spawnSync('pactl', ['list', 'short', 'sinks'], { env: client })
    .stdout?.toString().includes(`listener${listeners - 1}`);
  while (!there()) {
    if (gone || performance.now() > deadline) throw new Error(`PulseAudio did not start: ${said}`);
    await pause(50);
  }
  const format = ['-d', 'all.monitor', '--raw', '--format=s16le', `--rate=${SAMPLE_RATE}`, `--channels=${listeners}`, `--channel-map=${map}`];
  // It listens all the time and asks for a short delay: else the delay of the sinks, and with it what every page is told of it, would change
  // whenever a browser begins or stops to play.
  const keeper = spawn('parec', [...format, '--latency-msec=5'], { env: client, stdio: 'ignore' });

  return {
    /** @param {number} index @returns {NodeJS.ProcessEnv} what a program is started with to play as this listener */
    env: (index) => ({ ...client, PULSE_SINK: `listener${index}` }),

    /** What a program is started with to play through what is the default at the time. */
    defaultEnv: client,

    /** @param {string[]} args @returns {string} what it says */
    pactl(...args) {
      const { status, stdout, stderr } = spawnSync('pactl', args, { env: client });
      if (status !== 0) throw new Error(`pactl ${args.join(' ')}: ${stderr}`);
      return stdout.toString().trim();
    },

    /** @returns {Promise<{ stop: () => Promise<Recording> }>} */
    async record() {
      const file = join(folder, `${performance.now()}.raw`);
      const out = createWriteStream(file);
      const recorder = spawn('parec', [...format, '--latency-msec=20'], { env: client, stdio: ['ignore', 'pipe', 'inherit'] });
      let bytes = 0;
      let startedAtMs = Infinity;
      recorder.stdout.on('data', (chunk) => {
        bytes += chunk.length;
        // The chunk that waited least says best when the first sample was.
        startedAtMs = Math.min(startedAtMs, Date.now() - (bytes / (2 * listeners * SAMPLE_RATE)) * 1000);
        out.write(chunk);
      });
      await new Promise((resolve, reject) => {
        recorder.stdout.once('data', resolve);
        recorder.once('error', reject);
      });
      return {
        async stop() {
          const closed = new Promise((resolve) => recorder.once('close', resolve));
          recorder.kill();
          await closed;
          await new Promise((resolve) => out.end(() => resolve(undefined)));
          const data = readFileSync(file);
          rmSync(file);
          return { channels: apart(data, listeners), startedAtMs };
        },
      };
    },

    async stop() {
      keeper.kill();
      const closed = new Promise((resolve) => server.once('close', resolve));
      server.kill();
      await Promise.race([closed, pause(3000)]);
      end();
      endings.delete(end);
    },
  };
}

/** @param {Buffer} data @param {number} count */
function apart(data, count) {
  const frames = Math.floor(data.length / 2 / count);
  const samples = new Int16Array(data.buffer, data.byteOffset, frames * count);
  return Array.from({ length: count }, (_, channel) => {
    const own = new Int16Array(frames);
    for (let i = 0; i < frames; i += 1) own[i] = samples[i * count + channel];
    return own;
  });
}
