// What the kinds of digest.mjs draw their inputs from.
import { native } from '../dist/native/addon.js';

export const addon = native();
export const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 47, 64, 65, 97];
export const random = (() => {
  let state = 1;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
})();
