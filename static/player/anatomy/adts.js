/** @typedef {import('./measure.js').Sound} Sound */

export const AAC_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];
export const AAC_SAMPLES = 1024;
/** Where the number says that the sound itself does, as many as a browser decodes. */
export const MOST_CHANNELS = 8;

/**
 * By the number in an AAC configuration (ISO/IEC 14496-3, table 1.19). One channel may be made two (parametric stereo).
 * @param {number} layout
 */
export function aacChannels(layout) { return layout === 0 || layout > 6 ? MOST_CHANNELS : Math.max(2, layout); }

/**
 * AAC in ADTS frames (ISO/IEC 13818-7, 6.2).
 * @param {Uint8Array} bytes
 * @returns {Sound | null}
 */
export function adtsSound(bytes) {
  const sound = { channels: 0, rate: 0, seconds: 0 };
  for (let at = 0; at + 7 <= bytes.length;) {
    const size = (bytes[at + 3] & 3) << 11 | bytes[at + 4] << 3 | bytes[at + 5] >> 5;
    const rate = AAC_RATES[bytes[at + 2] >> 2 & 15];
    if (bytes[at] !== 0xff || (bytes[at + 1] & 0xf6) !== 0xf0 || size < 7 || !rate) {
      const next = bytes.indexOf(0xff, at + 1);
      if (next < 0) break;
      at = next;
      continue;
    }
    sound.channels = Math.max(sound.channels, aacChannels((bytes[at + 2] & 1) << 2 | bytes[at + 3] >> 6));
    sound.rate = Math.max(sound.rate, rate);
    sound.seconds += AAC_SAMPLES * ((bytes[at + 6] & 3) + 1) / rate;
    at += size;
  }
  return sound;
}
