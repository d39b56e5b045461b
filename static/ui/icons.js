const SVG = 'http://www.w3.org/2000/svg';

/** Strokes on a grid of 24. @type {Record<string, string>} */
const STROKES = {
  play: 'M8 5.5v13l11-6.5z',
  pause: 'M8.5 5v14M15.5 5v14',
  volume: 'M4 10v4h3.5L12 18V6L7.5 10zM15.5 9.5a3.6 3.6 0 0 1 0 5M18 7a7 7 0 0 1 0 10',
  muted: 'M4 10v4h3.5L12 18V6L7.5 10zM16 9.8l4.5 4.5M20.5 9.8 16 14.3',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.700l1-1',
  leave: 'M13 5H6.500v14H13M10.500 12H20M16.500 8.500 20 12l-3.500 3.500',
  close: 'M6.500 6.500l11 11M17.500 6.500l-11 11',
  search: 'M10.800 17a6.200 6.200 0 1 0 0-12.400 6.200 6.200 0 0 0 0 12.400zM15.400 15.400 20 20',
  plus: 'M12 5.500v13M5.500 12h13',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  friends: 'M9 11.500a3.300 3.300 0 1 0 0-6.600 3.300 3.300 0 0 0 0 6.600zM3.200 19a5.800 5.800 0 0 1 11.600 0M16 5.300a3.300 3.300 0 0 1 0 6M17.500 14a5.800 5.800 0 0 1 3.300 5',
  rooms: 'M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM12 14.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M5.600 18.400l1.100-1.100M17.300 6.700l1.100-1.100',
  moon: 'M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z',
  auto: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 4v16M12 8h3.500M12 12h4M12 16h3.500',
  logout: 'M10 5H5.500v14H10M9.500 12H20M16.500 8.500 20 12l-3.500 3.500',
  baton: 'M5 19 18 6M18 6l1.500-1.500M4.200 19.800l2.600-.800-1.800-1.800z',
  lock: 'M7 11V8.500a5 5 0 0 1 10 0V11M6 11h12v8.500H6z',
  open: 'M7 11V8.500a5 5 0 0 1 9.600-2M6 11h12v8.500H6z',
  wave: 'M4 10v4M8 7v10M12 4v16M16 7v10M20 10v4',
  tune: 'M4 8h8M16.500 8H20M4 16h3M11.500 16H20M14.200 10.300a2.300 2.300 0 1 0 0-4.600 2.300 2.300 0 0 0 0 4.600zM9.200 18.300a2.300 2.300 0 1 0 0-4.600 2.300 2.300 0 0 0 0 4.600z',
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
  draw('path', { class: 'wordmark-line', d: 'M16 8v36c0 8 5 12 12 12M42 26v16c0 9 5 14 12 14s12-5 12-14V26M66 42c0 9 3 14 9 14M88 8v36c0 8 4 12 10 12M112 8v36c0 8 4 12 10 12M138 26v22c0 5 2 8 6 8' });
  draw('path', { class: 'wordmark-beam', d: 'M5 22h23M78 22h46' });
  draw('circle', { class: 'wordmark-dot', cx: '138', cy: '13', r: '5' });
  return svg;
}
