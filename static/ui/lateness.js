import { Clicks, NothingHeard } from '../player/clicks.js';
import { latenessOfTaps } from '../player/lateness.js';
import { openDialog } from './dialog.js';
import { busy, h, setText } from './dom.js';
import { icon } from './icons.js';

const BEATS = 14;
const RANGE_MS = 500;

/** @param {unknown} error */
function inWords(error) {
  if (error instanceof NothingHeard) return error.message;
  if (error instanceof DOMException && error.name === 'NotAllowedError') return 'The microphone is not allowed here. Tapping along does without it.';
  if (error instanceof DOMException && error.name === 'NotFoundError') return 'There is no microphone here. Tapping along does without it.';
  return 'That did not work here. The slider always does.';
}

/**
 * Finds out how late the loudspeaker is, by tapping along with clicks or by hearing them.
 *
 * @param {object} parts
 * @param {(quiet: boolean) => void} parts.hush the music must not sound meanwhile
 * @param {(lateMs: number) => void} parts.use
 */
export function findLateness({ hush, use }) {
  const said = h('p', { class: 'lateness-said', role: 'status', testid: 'lateness-said' }, 'Tap along with the clicks, or let the microphone hear them. The music is quiet meanwhile.');
  const pad = h('button', { class: 'tap-pad', type: 'button', disabled: true, testid: 'tap-pad' }, icon('wave'), h('span', {}, 'Tap here with each click'));
  const byEar = h('button', { class: 'button', type: 'button', testid: 'lateness-tap' }, icon('wave'), 'Tap along');
  const byMicrophone = h('button', { class: 'button', type: 'button', testid: 'lateness-microphone', hidden: !navigator.mediaDevices?.getUserMedia }, icon('microphone'), 'By microphone');
  const take = h('button', { class: 'button primary', type: 'button', disabled: true, testid: 'lateness-use' }, 'Use it');
  const dialog = h('dialog', { class: 'dialog lateness', 'aria-labelledby': 'lateness-title', testid: 'lateness' },
    h('h2', { id: 'lateness-title' }, 'How late is the loudspeaker?'),
    said, pad,
    h('div', { class: 'row lateness-ways' }, byEar, byMicrophone),
    h('div', { class: 'row row-end' },
      h('button', { class: 'button quiet', type: 'button', testid: 'lateness-close', onclick: () => dialog.close() }, 'Cancel'), take));
  /** @type {Clicks | null} */
  let clicks = null;
  /** @type {number[]} */
  let taps = [];
  let result = 0;

  /** @param {number} lateMs */
  const found = (lateMs) => {
    result = Math.max(-RANGE_MS, Math.min(RANGE_MS, Math.round(lateMs / 5) * 5));
    take.disabled = false;
    setText(said, result === 0 ? 'This loudspeaker is right on time.'
      : `This loudspeaker is ${Math.abs(result)} ms ${result > 0 ? 'late' : 'early'}.`);
  };
  const afresh = () => {
    clicks?.stop();
    clicks = new Clicks();
    taps = [];
    take.disabled = true;
    return clicks;
  };
  const fail = (/** @type {unknown} */ error) => setText(said, inWords(error));

  byEar.addEventListener('click', () => busy(byEar, async () => {
    const beat = afresh();
    await beat.beat(BEATS);
    pad.disabled = false;
    pad.focus();
    setText(said, 'Tap the field, or press the space bar, with each click.');
  }, fail));
  byMicrophone.addEventListener('click', () => busy(byMicrophone, async () => {
    pad.disabled = true;
    setText(said, 'Five clicks… hold the microphone where you listen.');
    found(await afresh().listen());
  }, fail));
  const tapped = (/** @type {Event} */ event) => {
    if (!clicks) return;
    taps.push(event.timeStamp);
    pad.classList.remove('tap-pad-hit');
    // The class starts the flash anew only after a look at the layout.
    void pad.offsetWidth;
    pad.classList.add('tap-pad-hit');
    const { lateMs, taps: count } = latenessOfTaps(clicks.times, taps);
    if (lateMs !== null) found(lateMs);
    else if (count > BEATS - 4) setText(said, 'These taps are too far apart to tell. Once more, with each click?');
  };
  // When it is touched, not when it is let go.
  pad.addEventListener('pointerdown', tapped);
  pad.addEventListener('keydown', (event) => {
    if (event.key !== ' ' && event.key !== 'Enter') return;
    event.preventDefault();
    if (!event.repeat) tapped(event);
  });
  take.addEventListener('click', () => {
    use(result);
    dialog.close();
  });
  dialog.addEventListener('close', () => {
    clicks?.stop();
    hush(false);
  });
  hush(true);
  openDialog(dialog);
}
