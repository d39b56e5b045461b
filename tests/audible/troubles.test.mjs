// What goes wrong while people listen together, in real browsers and from the sound: each trouble is said, and the sound comes back
// where the others are.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { byId } from '../browser/people.mjs';
import { eventually } from '../support/api.mjs';
import { GUEST, openPlace, SPARE, WITHIN_MS } from './evening.mjs';
import { FLAGS } from './listeners.mjs';

const STORY_MS = 120_000;

describe('when something goes wrong', () => {
  /** @type {Awaited<ReturnType<typeof openPlace>>} */
  let place;

  before(async () => { place = await openPlace(); });
  after(() => place?.close());

  for (const [what, options] of /** @type {const} */ ([['', {}], [', which allows the host of the song as well', { hosts: [] }]])) {
    test(`a browser that wants a tap first asks for it${what}, and lands where the others are`, { timeout: STORY_MS }, async (t) => {
      const { sound, evening, guestBrowser, isHeard, together } = place;
      const wary = await guestBrowser(t, sound.env(GUEST), FLAGS.map((flag) => (flag.includes('autoplay') ? '--autoplay-policy=document-user-activation-required' : flag)));
      const { host, guest } = await evening(t, wary, { guest: { ...options } });
      // To Chromium all that a test asks of a page is a tap. So a page of which nothing was asked yet, and the asking is done by hand.
      const page = await guest.page.context().newPage();
      await guest.page.close();
      const devtools = await page.context().newCDPSession(page);
      await page.goto(new URL(new URL(host.page.url()).pathname, guest.user.url).href);
      await eventually(async () => {
        const expression = `document.querySelector('${byId('tap-to-listen')}')?.hidden === false`;
        return (await devtools.send('Runtime.evaluate', { expression, userGesture: false })).result.value;
      }, 'it asks for a tap', { within: WITHIN_MS });
      assert.equal(await isHeard(GUEST), false, 'it was heard without a tap');
      await page.click(byId('tap-to-listen'));
      await together();
      await page.locator(byId('tap-to-listen')).waitFor({ state: 'hidden' });
    });
  }

  test('while the line is broken the music plays on, and what was missed is made up for', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser, together } = place;
    const { host, guest } = await evening(t, await guestBrowser(t), { guest: { fault: { delayMs: 0 } } });
    await together();
    guest.line?.cut();
    await guest.page.waitForSelector(`${byId('connection-state')}:not([hidden])`);
    await guest.page.locator(byId('sync-offset')).filter({ hasText: 'without a connection' }).waitFor();
    await together();
    await host.page.fill(byId('seek'), '60');
    guest.line?.mend();
    await together({ beyond: 60 });
    await guest.page.waitForSelector(`${byId('connection-state')}[hidden]`, { state: 'attached' });
  });

  for (const player of /** @type {const} */ (['webaudio', 'audio'])) {
    test(`another loudspeaker takes over at the same place, by ${player}`, { timeout: STORY_MS }, async (t) => {
      const { sound, evening, guestBrowser, together } = place;
      const plugged = sound.pactl('load-module', 'module-remap-sink', 'sink_name=plugged', 'master=all', 'channels=1', 'channel_map=mono',
        `master_channel_map=aux${GUEST}`, 'remix=no');
      sound.pactl('set-default-sink', 'plugged');
      await evening(t, await guestBrowser(t, sound.defaultEnv), { guest: { player } });
      await together();
      sound.pactl('set-default-sink', `listener${SPARE}`);
      sound.pactl('unload-module', plugged);
      await together({ output: SPARE });
    });
  }

  test('a page that was frozen, as on a locked phone, is where the others are when it wakes', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser, together } = place;
    const { host, guest } = await evening(t, await guestBrowser(t));
    await together();
    const devtools = await guest.page.context().newCDPSession(guest.page);
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    await pause(1000);
    await host.page.fill(byId('seek'), '60');
    await pause(4000);
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    await together({ beyond: 60 });
  });

  test('sound that the system takes away, as for a call, is asked for again', { timeout: STORY_MS }, async (t) => {
    const { evening, guestBrowser, together } = place;
    const init = () => {
      const Plain = AudioContext;
      globalThis.AudioContext = class extends Plain {
        /** @param {AudioContextOptions} [options] */
        constructor(options) {
          super(options);
          addEventListener('a-call', () => this.suspend());
        }
      };
    };
    const { guest } = await evening(t, await guestBrowser(t), { guest: { init } });
    await together();
    await guest.page.evaluate(() => dispatchEvent(new Event('a-call')));
    await together();
  });
});
