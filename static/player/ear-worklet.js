// @ts-nocheck: the names of a worklet's scope are not those of the page, whose types these files are checked with.
// Hands on what a microphone hears, with the moment of the context at which it came in.

registerProcessor('ear', class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage({ at: currentTime, samples: samples.slice() });
    return true;
  }
});
