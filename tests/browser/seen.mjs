// What a page looks like, from its pixels: the styles of a slider's parts cannot be asked for.

import { byId } from './people.mjs';

/** Around an element this much is looked at, CSS pixels. */
const AROUND = 8;

/**
 * @typedef {[number, number, number]} Colour
 * @typedef {(x: number, y: number) => Colour} Picture by CSS pixels from the element's corner
 */

/** @param {Colour} colour */
function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** As WCAG defines it, 1 to 21. @param {Colour} one @param {Colour} other */
export function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} id
 * @returns {Promise<{at: Picture, width: number, height: number}>}
 */
export async function look(page, id) {
  const element = page.locator(`${byId(id)}:visible`).first();
  await element.scrollIntoViewIfNeeded();
  const box = await element.boundingBox();
  if (!box) throw new Error(`${id} is not to be seen`);
  const clip = { x: box.x - AROUND, y: box.y - AROUND, width: box.width + 2 * AROUND, height: box.height + 2 * AROUND };
  const png = await page.screenshot({ clip, animations: 'disabled', caret: 'hide', scale: 'css' });
  const { pixels, width } = await page.evaluate(async (data) => {
    const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))]));
    const context = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
    context?.drawImage(picture, 0, 0);
    return { pixels: [...context?.getImageData(0, 0, picture.width, picture.height).data ?? []], width: picture.width };
  }, png.toString('base64'));
  return {
    width: box.width, height: box.height,
    at(x, y) {
      const from = (Math.round(y + AROUND) * width + Math.round(x + AROUND)) * 4;
      return [pixels[from], pixels[from + 1], pixels[from + 2]];
    },
  };
}

/**
 * How well an edge is seen: the most contrast there is, on the way over the middle of the top edge, with what lies outside.
 * @param {import('playwright-core').Page} page @param {string} id
 * @param {{from?: number, to?: number}} [band] CSS pixels from the edge, outside below 0
 */
export async function edgeContrast(page, id, { from = -1, to = 4 } = {}) {
  const { at, width } = await look(page, id);
  const outside = at(width / 2, -AROUND + 1);
  return Math.max(...Array.from({ length: to - from + 1 }, (_, index) => contrast(at(width / 2, from + index), outside)));
}

/**
 * The parts of a horizontal slider that stands at `value` of 1: how well each is seen beside what is next to it.
 * @param {import('playwright-core').Page} page @param {string} id @param {number} value
 */
export async function sliderContrasts(page, id, value) {
  const { at, width, height } = await look(page, id);
  const middle = height / 2;
  const outside = at(width * 0.5, 0);
  const down = (/** @type {number} */ x) => Array.from({ length: 15 }, (_, index) => contrast(at(x, middle - 7 + index), outside));
  const [done, left] = [width * value * 0.4, width * (value + (1 - value) * 0.6)];
  return {
    'the done part': contrast(at(done, middle), outside),
    'the rest': Math.max(...down(left)),
    'done and not done': contrast(at(done, middle), at(left, middle)),
    thumb: contrast(at(9 + (width - 18) * value, middle), outside),
  };
}
