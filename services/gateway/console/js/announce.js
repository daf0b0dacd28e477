/** @file Says aloud, to those who listen to the page, what others see move. */

import { byId } from "./dom.js";

let timer = 0;

/** @param {string} text */
export function announce(text) {
  const place = byId("announcer");
  place.textContent = "";
  clearTimeout(timer);
  timer = setTimeout(() => { place.textContent = text; }, 60); // a text that comes back unchanged would not be read
}
