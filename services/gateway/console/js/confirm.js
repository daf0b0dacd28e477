/** @file Asks before money moves. */

import { byId, fill, h } from "./dom.js";

/**
 * @param {{title: string, text: (Node|string)[], yes: string, grave?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes, grave = false }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirmation"));
  const answer = (value) => () => dialog.close(value);
  fill(dialog,
    h("h2", { id: "confirmation-title" }, title),
    h("div", { class: "stack-small" }, text.map((part) => (part instanceof Node ? part : h("p", {}, part)))),
    h("div", { class: "row" },
      h("button", { type: "button", class: "button plain", on: { click: answer("no") } }, "Not now"),
      h("button", { type: "button", class: `button${grave ? " grave" : ""}`, on: { click: answer("yes") } }, yes)));
  dialog.returnValue = "no";
  dialog.showModal();
  const leave = answer("no"); // whoever goes to another page meanwhile doesn't want it there
  addEventListener("hashchange", leave);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      removeEventListener("hashchange", leave);
      resolve(dialog.returnValue === "yes");
    }, { once: true });
  });
}
