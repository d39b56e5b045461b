import { setText } from './dom.js';

/**
 * What people have written (usernames, names of rooms, titles of songs, artists), shown so that it can change nothing around it.
 * Characters that set the direction of writing would reorder the rest of the line: none of them is shown.
 */
const DIRECTIONS = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;
/** Hebrew, Arabic and other scripts that run from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;
/** All that has no ink: blanks, controls, characters that are not drawn, and the blank of Braille. */
const INKLESS = /[\s\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** @param {string} text */
export function plain(text) { return text.replace(DIRECTIONS, ''); }

/** For the middle of a sentence, a label or a title. @param {string} text */
export function isolated(text) {
  const shown = plain(text);
  return RIGHT_TO_LEFT.test(shown) ? `\u2068${shown}\u2069` : shown;
}

/** Whether there is anything to see. @param {string | null | undefined} text */
export function isVisible(text) { return Boolean(text?.replace(INKLESS, '')); }

/**
 * For an element that holds nothing else.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setUserText(element, text) {
  // Only once: it is set again with every update of a list.
  if (!element.dir) element.dir = 'auto';
  setText(element, plain(text));
}

/**
 * @template {HTMLElement} E
 * @param {E} element
 * @param {string} text
 */
export function withUserText(element, text) {
  setUserText(element, text);
  return element;
}
