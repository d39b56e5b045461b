const SVG = 'http://www.w3.org/2000/svg';

/** Strokes on a grid of 24. @type {Record<string, string>} */
const STROKES = {
  play: 'M8 5.5v13l11-6.5z',
  pause: 'M8.5 5v14M15.5 5v14',
  volume: 'M4 10v4h3.5L12 18V6L7.5 10zM15.5 9.5a3.6 3.6 0 0 1 0 5M18 7a7 7 0 0 1 0 10',
  muted: 'M4 10v4h3.5L12 18V6L7.5 10zM16 9.8l4.5 4.5M20.5 9.8 16 14.3',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1',
  leave: 'M13 5H6.5v14H13M10.5 12H20M16.5 8.5 20 12l-3.5 3.5',
  close: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  search: 'M10.8 17a6.2 6.2 0 1 0 0-12.4 6.2 6.2 0 0 0 0 12.4zM15.4 15.4 20 20',
  plus: 'M12 5.5v13M5.5 12h13',
  down: 'M6.5 9.5 12 15l5.5-5.5',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  friends: 'M9 11.5a3.3 3.3 0 1 0 0-6.6 3.3 3.3 0 0 0 0 6.6zM3.2 19a5.8 5.8 0 0 1 11.6 0M16 5.3a3.3 3.3 0 0 1 0 6M17.5 14a5.8 5.8 0 0 1 3.3 5',
  rooms: 'M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 14.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1',
  moon: 'M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z',
  auto: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 4v16M12 8h3.5M12 12h4M12 16h3.5',
  logout: 'M10 5H5.5v14H10M9.5 12H20M16.5 8.5 20 12l-3.5 3.5',
  crown: 'M4.5 17.5 3.5 8l5 3.5L12 5.5l3.5 6 5-3.5-1 9.5z',
  lock: 'M7 11V8.5a5 5 0 0 1 10 0V11M6 11h12v8.5H6z',
  open: 'M7 11V8.5a5 5 0 0 1 9.6-2M6 11h12v8.5H6z',
  wave: 'M4 10v4M8 7v10M12 4v16M16 7v10M20 10v4',
  microphone: 'M12 14.5a3 3 0 0 0 3-3V7a3 3 0 0 0-6 0v4.5a3 3 0 0 0 3 3zM6 11.5a6 6 0 0 0 12 0M12 17.5V21M9 21h6',
  tune: 'M4 8h8M16.5 8H20M4 16h3M11.5 16H20M14.2 10.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM9.2 18.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6z',
};

/**
 * A drawing that goes with words; it says nothing itself.
 * @param {keyof typeof STROKES} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', STROKES[name]);
  if (name === 'play') path.setAttribute('fill', 'currentColor');
  svg.append(path);
  return svg;
}

/**
 * The name as a mark: its two t's share one beam, as notes played together do.
 * @param {string} className
 * @returns {SVGSVGElement}
 */
export function wordmark(className) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ class: className, viewBox: '0 0 148 64', role: 'img', 'aria-label': 'Tutti' })) {
    svg.setAttribute(key, value);
  }
  /** @param {string} tag @param {Record<string, string>} attributes */
  const draw = (tag, attributes) => {
    const shape = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  };
  draw('path', { class: 'wordmark-line', d: 'M16 8v36c0 8 5 12 12 12M42 26v16c0 9 5 14 12 14s12-5 12-14V26M66 42v6c0 5 2 8 6 8M88 8v36c0 8 4 12 10 12M112 8v36c0 8 4 12 10 12M138 26v22c0 5 2 8 6 8' });
  draw('path', { class: 'wordmark-beam', d: 'M5 22h23M78 22h46' });
  draw('circle', { class: 'wordmark-dot', cx: '138', cy: '13', r: '5' });
  return svg;
}
