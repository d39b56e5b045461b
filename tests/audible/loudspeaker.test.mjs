// How late a loudspeaker is, found in a real browser: by somebody who taps along, and by a microphone that hears it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { byId } from '../browser/people.mjs';
import { cast, createRoom } from '../support/api.mjs';
import { startTutti, unlimited } from '../support/server.mjs';
import { findClick } from '../../static/player/lateness.js';
import { hurrySound, listener, openBrowser } from './listeners.mjs';
import { SAMPLE_RATE } from './song.mjs';
import { startSound } from './sound.mjs';

const STORY_MS = 90_000;
const BEAT_MS = 750;
/** What the loudspeaker plays, and what is heard in the room when it is a late one. */
const PLAYED = 0;
const IN_THE_ROOM = 1;
const TAPS_LATE_MS = 150;
const AIR_MS = 400;
/**
 * On a machine that others take the time of, a tap comes late, and what a microphone hears comes later than the browser says: by up to
 * 110 ms here, which no page can see. So it is asked which is nearer: none of the air, all of it, or twice as much.
 */
const TAPS_WITHIN_MS = 50;
const HEARD_WITHIN_MS = AIR_MS / 2;

/** Seconds at which a click begins. @param {Int16Array} channel @param {number} from seconds @param {number} to */
function clickIn(channel, from, to) {
  const part = channel.subarray(Math.round(from * SAMPLE_RATE), Math.round(to * SAMPLE_RATE));
  const at = findClick(Float32Array.from(part, (sample) => sample / 32768), SAMPLE_RATE);
  assert.ok(at !== null, 'nothing clicked');
  return from + at;
}

describe('how late the loudspeaker is', () => {
  /** @type {Awaited<ReturnType<typeof startSound>>} */
  let sound;
  /** @type {Awaited<ReturnType<typeof startTutti>>} */
  let tutti;
  /** @type {import('playwright-core').Browser} */
  let browser;

  before(async () => {
    sound = await startSound(2);
    tutti = await startTutti({ env: unlimited });
    browser = await openBrowser(sound.env(PLAYED));
    hurrySound();
  });

  after(async () => {
    await browser?.close();
    await tutti?.stop();
    await sound?.stop();
  });

  /** Somebody who is about to find out. @param {import('node:test').TestContext} t */
  async function asking(t) {
    const [ann] = await cast(tutti.url, 'ann');
    const who = await listener(browser, ann, { permissions: ['microphone'] });
    t.after(() => who.close());
    const { room_id: roomId } = await createRoom(ann);
    await who.enter(roomId);
    await who.page.click(`${byId('trim-panel')} summary`);
    await who.page.click(byId('find-lateness'));
    return who.page;
  }

  /** What the microphone hears from now on. Of a sink's own monitor Chromium makes none. @param {string} sink */
  function microphoneHears(sink) {
    sound.pactl('load-module', 'module-remap-source', `source_name=microphone-${sink}`, `master=${sink}.monitor`, 'channels=1',
      'channel_map=mono', `source_properties=device.description=microphone-${sink}`);
    sound.pactl('set-default-source', `microphone-${sink}`);
  }

  /** @param {import('playwright-core').Page} page @returns {Promise<number>} milliseconds */
  async function answer(page) {
    await page.waitForSelector(`${byId('lateness-use')}:enabled`);
    const said = await page.textContent(byId('lateness-said')) ?? '';
    if (/right on time/.test(said)) return 0;
    const [, ms, way] = /(\d+) ms (late|early)/.exec(said) ?? assert.fail(said);
    return Number(ms) * (way === 'late' ? 1 : -1);
  }

  test('is found by tapping along, and kept', { timeout: STORY_MS }, async (t) => {
    const page = await asking(t);
    const recorder = await sound.record();
    await page.click(byId('lateness-tap'));
    await pause(3000);
    const { channels, startedAtMs } = await recorder.stop();
    // Any of them: from each to the next it is one beat.
    const clickMs = startedAtMs + clickIn(channels[PLAYED], 0, 3) * 1000;
    for (let beat = Math.ceil((Date.now() - clickMs) / BEAT_MS); beat < 13; beat += 1) {
      await pause(Math.max(0, clickMs + beat * BEAT_MS + TAPS_LATE_MS - Date.now()));
      await page.keyboard.press(' ');
    }
    const late = await answer(page);
    assert.ok(Math.abs(late - TAPS_LATE_MS) < TAPS_WITHIN_MS, `${late} ms`);
    await page.click(byId('lateness-use'));
    assert.equal(await page.inputValue(byId('trim')), String(late));
    await page.reload();
    assert.equal(await page.inputValue(byId('trim')), String(late));
  });

  test('is heard by the microphone', { timeout: STORY_MS }, async (t) => {
    microphoneHears(`listener${PLAYED}`);
    const page = await asking(t);
    await page.click(byId('lateness-microphone'));
    const atOnce = await answer(page);
    assert.ok(Math.abs(atOnce) < HEARD_WITHIN_MS, `${atOnce} ms late, of one that is not late`);

    const air = sound.pactl('load-module', 'module-loopback', `source=listener${PLAYED}.monitor`, `sink=listener${IN_THE_ROOM}`, `latency_msec=${AIR_MS}`);
    t.after(() => sound.pactl('unload-module', air));
    microphoneHears(`listener${IN_THE_ROOM}`);
    const recorder = await sound.record();
    await page.click(byId('lateness-microphone'));
    const late = await answer(page);
    const { channels } = await recorder.stop();
    const played = clickIn(channels[PLAYED], 0, 4);
    const airMs = (clickIn(channels[IN_THE_ROOM], played, played + 0.7) - played) * 1000;
    assert.ok(Math.abs(late - atOnce - airMs) < HEARD_WITHIN_MS, `${late} ms, and ${atOnce} without the ${airMs} ms of air`);
  });

  test('is not guessed where the microphone hears nothing', { timeout: STORY_MS }, async (t) => {
    const quiet = sound.pactl('load-module', 'module-null-sink', 'sink_name=quiet');
    t.after(() => sound.pactl('unload-module', quiet));
    microphoneHears('quiet');
    const page = await asking(t);
    await page.click(byId('lateness-microphone'));
    await page.locator(byId('lateness-said')).filter({ hasText: 'did not hear' }).waitFor();
    assert.equal(await page.isEnabled(byId('lateness-use')), false);
  });
});
