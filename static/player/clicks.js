import { clickSound, findClick, median } from './lateness.js';
import { SoundClock } from './sound-clock.js';

const LOOK_MS = 20;
const READY_MS = 3000;
/** Clicks for the ear, and from the first order on: so far apart and so far ahead. */
const BEAT_S = 0.75;
const AHEAD_S = 0.5;
/** Clicks for the microphone. */
const ROUNDS = 5;
const LISTEN_S = 0.9;
/** What a microphone usually takes, where the browser does not say. */
const MICROPHONE_S = 0.01;

/** The microphone says nothing of use, with words for the listener. */
export class NothingHeard extends Error {}

/** Clicks at known moments, through a way to the loudspeaker of their own with a short buffer. Made inside a tap. */
export class Clicks {
  /** When the clicks so far are heard if the loudspeaker is as late as the browser says, page time in ms. @type {number[]} */
  times = [];

  constructor() {
    this.context = new AudioContext({ latencyHint: 'interactive' });
    this.clock = new SoundClock();
    const { sampleRate } = this.context;
    const sound = clickSound(sampleRate);
    this.sound = this.context.createBuffer(1, sound.length, sampleRate);
    this.sound.copyToChannel(sound, 0);
    const silence = this.context.createConstantSource();
    silence.offset.value = 0;
    silence.connect(this.context.destination);
    silence.start();
    this.looking = setInterval(() => this.clock.look(this.context), LOOK_MS);
  }

  async #ready() {
    await this.context.resume();
    const deadline = performance.now() + READY_MS;
    while (!this.clock.ready) {
      if (performance.now() > deadline) throw new NothingHeard('This browser does not say when its sound is heard.');
      await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
    }
  }

  /** @param {number} when context time */
  #click(when) {
    const node = this.context.createBufferSource();
    node.buffer = this.sound;
    node.connect(this.context.destination);
    node.start(when);
  }

  /** A beat to tap along with. @param {number} beats */
  async beat(beats) {
    await this.#ready();
    const first = this.context.currentTime + AHEAD_S;
    const now = performance.now();
    for (let beat = 0; beat < beats; beat += 1) {
      const when = first + beat * BEAT_S;
      this.#click(when);
      this.times.push(now + (when - this.clock.toContext(now)) * 1000);
    }
  }

  /**
   * Clicks, and listens for them.
   * @returns {Promise<number>} milliseconds by which the loudspeaker is later than the browser says
   */
  async listen() {
    const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    try {
      await this.#ready();
      await this.context.audioWorklet.addModule(new URL('./ear-worklet.js', import.meta.url).href);
      const [track] = stream.getAudioTracks();
      const { latency = MICROPHONE_S } = /** @type {{ latency?: number }} */ (track.getSettings());
      const ear = new AudioWorkletNode(this.context, 'ear', { numberOfOutputs: 0 });
      /** @type {{ at: number, samples: Float32Array }[]} */
      let heard = [];
      ear.port.onmessage = ({ data }) => { heard.push(data); };
      this.context.createMediaStreamSource(stream).connect(ear);
      const late = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const when = this.context.currentTime + 0.1;
        heard = [];
        this.#click(when);
        await new Promise((resolve) => { setTimeout(resolve, (LISTEN_S + 0.1) * 1000); });
        const arrived = this.#arrival(heard, when);
        const now = performance.now();
        // What the browser knows: how far the context is ahead of what is heard.
        const told = this.context.currentTime - this.clock.toContext(now);
        if (arrived !== null) late.push((arrived - when - told - latency) * 1000);
      }
      if (late.length < ROUNDS - 2) throw new NothingHeard('The microphone did not hear the clicks. Is the sound loud enough, and the room quiet?');
      return median(late);
    } finally {
      for (const track of stream.getTracks()) track.stop();
    }
  }

  /** @param {{ at: number, samples: Float32Array }[]} heard @param {number} when @returns {number | null} context time */
  #arrival(heard, when) {
    const blocks = heard.filter(({ at }) => at >= when - 0.05);
    const length = blocks.reduce((sum, { samples }) => sum + samples.length, 0);
    const all = new Float32Array(length);
    let place = 0;
    for (const { samples } of blocks) {
      all.set(samples, place);
      place += samples.length;
    }
    const found = findClick(all, this.context.sampleRate);
    return found === null || !blocks.length ? null : blocks[0].at + found;
  }

  stop() {
    clearInterval(this.looking);
    void this.context.close();
  }
}
