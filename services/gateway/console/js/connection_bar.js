/** @file Says when the live connection is lost, and afterwards what was missed meanwhile. */

import { byId, fill, h } from "./dom.js";
import { live } from "./live.js";
import { signed, storyOf } from "./words.js";

/** A loss that heals sooner isn't worth a word. */
const QUIET_MS = 1200;
const SHOWN_MAX = 5;

let showing = /** @type {"none"|"lost"|"missed"} */ ("none");
let timer = 0;

/** Watches the connection. */
export function startConnectionBar() {
  live.addEventListener("state", stateChanged);
  live.addEventListener("caught-up", (event) => showMissed(/** @type {CustomEvent} */ (event).detail.missed));
}

function stateChanged() {
  clearTimeout(timer);
  if (live.state === "lost") {
    if (showing === "lost") return;
    timer = setTimeout(showLost, QUIET_MS);
  } else if (showing === "lost") {
    clear();
  }
}

function showLost() {
  showing = "lost";
  fill(byId("connection"), h("div", { class: "notice warn" },
    h("p", {}, h("strong", {}, "The live connection is lost. "), "Balances may be older than they look; trying again by itself."),
    h("button", { class: "button plain small-button", type: "button", on: { click: () => live.retryNow() } }, "Try now")));
}

function showMissed(missed) {
  showing = "missed";
  const stories = missed.map(storyOf).filter((story) => story.amount !== null || missed.length === 1);
  const rest = stories.length - SHOWN_MAX;
  fill(byId("connection"), h("div", { class: "notice good" },
    h("div", {},
      h("p", {}, h("strong", {}, "Back again. "), `While the connection was lost, your wallet had ${missed.length === 1 ? "one event" : `${missed.length} events`}:`),
      h("ul", { class: "missed" },
        stories.slice(0, SHOWN_MAX).map((story) => h("li", {}, story.text, " ", h("span", { class: "money" }, signed(story)))),
        rest > 0 && h("li", {}, `and ${rest} more`))),
    h("button", { class: "button plain small-button", type: "button", on: { click: clear } }, "Understood")));
}

function clear() {
  showing = "none";
  fill(byId("connection"));
}
