/**
 * What gives a page a wrong clock: `Date`, `performance.now()`, `performance.timeOrigin` and the times that events, frames, answers and sound
 * tell agree with each other, are off by `wrongMs` and run `ppm` millionths too fast.
 *
 * @param {{ wrongMs?: number, ppm?: number }} fault
 * @returns {string} a script that runs before the page's own
 */
export function wrongClock({ wrongMs = 0, ppm = 0 }) {
  return wrongMs || ppm ? `(${spoil})(${wrongMs}, ${1 + ppm / 1e6});` : '';
}

/** @param {number} wrongMs @param {number} pace */
function spoil(wrongMs, pace) {
  const RealDate = Date;
  const realNow = performance.now.bind(performance);
  const dateNow = Date.now;
  const origin = performance.timeOrigin;
  const started = dateNow();
  const now = () => realNow() * pace;
  const wall = () => started + wrongMs + (dateNow() - started) * pace;
  /** @param {object} where @param {string} name @param {unknown} value */
  const put = (where, name, value) => Object.defineProperty(where, name, { value, configurable: true, writable: true });

  put(performance, 'now', now);
  Object.defineProperty(performance, 'timeOrigin', { get: () => origin + wrongMs, configurable: true });
  class WrongDate extends RealDate {
    /** @param {any[]} args */
    constructor(...args) { super(...(args.length ? args : [wall()])); }

    static now() { return Math.floor(wall()); }
  }
  put(globalThis, 'Date', WrongDate);

  const stamp = Object.getOwnPropertyDescriptor(Event.prototype, 'timeStamp')?.get;
  Object.defineProperty(Event.prototype, 'timeStamp', { get() { return stamp?.call(this) * pace; }, configurable: true });
  for (const name of ['requestStart', 'responseStart']) {
    const when = Object.getOwnPropertyDescriptor(PerformanceResourceTiming.prototype, name)?.get;
    Object.defineProperty(PerformanceResourceTiming.prototype, name, { get() { return when?.call(this) * pace; }, configurable: true });
  }
  const frame = requestAnimationFrame;
  put(globalThis, 'requestAnimationFrame', (/** @type {FrameRequestCallback} */ draw) => frame((time) => draw(time * pace)));
  const told = AudioContext.prototype.getOutputTimestamp;
  put(AudioContext.prototype, 'getOutputTimestamp', function getOutputTimestamp(/** @type {any} */ ..._) {
    const { contextTime, performanceTime } = told.call(this);
    return { contextTime, performanceTime: performanceTime * pace };
  });
}
