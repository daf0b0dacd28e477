/** @file A button that opens something below it, and closes it again. */

import { fill, h } from "./dom.js";

/**
 * What it opens is made anew each time, and is put by the caller wherever it belongs.
 * @param {{label: string, of?: string, content: () => Node}} options `of` says what it belongs to, to those who hear
 *   the button alone.
 * @returns {{button: HTMLElement, place: HTMLElement}}
 */
export function disclosure({ label, of, content }) {
  const place = h("div");
  const button = h("button", { class: "button plain small-button", type: "button", "aria-expanded": "false" },
    label, of && h("span", { class: "visually-hidden" }, ` ${of}`));
  button.addEventListener("click", () => {
    const opens = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(opens));
    fill(place, opens && content());
    if (opens) /** @type {HTMLElement|null} */ (place.querySelector("form input"))?.focus();
  });
  return { button, place };
}
