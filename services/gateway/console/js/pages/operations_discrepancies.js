/** @file The orders that disagree with the ledger, what both say, and what to do about it. */

import { read } from "../api.js";
import { fill, h } from "../dom.js";
import { problemNotice } from "../form.js";
import { keepLooking } from "../looking.js";
import { formatMoney } from "../money.js";
import { badge, skeletons, stateBadge } from "../parts.js";
import { formatInstant } from "../times.js";
import { DISCREPANCIES, HOLD_STATES, shortId } from "../words.js";

const PATH = "/api/v1/discrepancies";
const PAGE = 20;
/** More than the API gives at once are for the command line. */
const SHOWN_MAX = 200;

/** @param {AbortSignal} signal @param {number} pauseMs Between two looks. */
export function discrepanciesCard(signal, pauseMs) {
  const summary = h("p", { role: "status" });
  const trouble = h("div"), place = h("div", {}, skeletons(1)), more = h("div");
  let shown = PAGE;
  let last = "";
  const draw = (page) => {
    const drawn = JSON.stringify(page);
    if (drawn === last) return;
    last = drawn;
    const words = page.items.length === 0 ? agreement(page) : disagreement(page);
    if (summary.textContent !== words) summary.textContent = words;
    keepingFocus(place, page.items.length > 0 && h("ul", { class: "findings", "aria-label": "Orders that disagree with the ledger" }, page.items.map(item)));
    fill(more, page.next_cursor !== null && (shown < SHOWN_MAX ? moreButton() : h("p", { class: "small quiet" }, "The rest: ", h("code", {}, "tradeflow reconcile --json"))));
  };
  const look = async () => {
    try {
      const page = await read(PATH, { limit: shown }, signal);
      if (signal.aborted) return;
      fill(trouble);
      draw(page);
    } catch (error) {
      if (signal.aborted) return;
      fill(trouble, problemNotice(error));
      if (last === "") fill(place);
    }
  };
  const lookNow = keepLooking(look, { signal, pauseMs });
  const moreButton = () => h("button", { id: "more-findings", class: "button plain small-button", type: "button", on: { click: () => { shown += PAGE; lookNow(); } } }, "Show more");
  return h("section", { class: "card stack" }, h("h2", {}, "Orders against the ledger"), summary, trouble, place, more);
}

/** Draws anew, and leaves who is on a link of it there. */
function keepingFocus(place, content) {
  const active = document.activeElement;
  const id = active instanceof HTMLElement && place.contains(active) ? active.id : "";
  fill(place, content);
  if (id) document.getElementById(id)?.focus();
}

function disagreement({ items, next_cursor: next }) {
  if (next !== null) return `More than ${items.length} orders disagree with the ledger.`;
  return items.length === 1 ? "One order disagrees with the ledger." : `${items.length} orders disagree with the ledger.`;
}

/** An orders service of before says nothing of rounds and sides. */
function agreement({ rounds = [], last_healed_at: healedAt = null }) {
  const all = rounds.find((one) => one.scope === "all")?.compared_at ?? null;
  if (all === null) return "Nothing was found so far; the first comparison of all orders is under way.";
  const since = healedAt === null ? "No order has ever disagreed with the ledger." : `All orders agree with the ledger since ${formatInstant(healedAt)}, when the last discrepancy was set right.`;
  return `${since} The last check of all orders began ${formatInstant(all)}.`;
}

function item({ order_id: orderId, kind, heals = false, message, order = null, ledger = null, first_seen_at: first, last_seen_at: last, seen }) {
  const words = DISCREPANCIES[kind] ?? { label: kind, what: message, next: "" };
  return h("li", { class: "stack-small" },
    h("div", { class: "row-between" },
      h("p", { class: "list-title" }, words.label, ": ", h("a", { id: `finding-${orderId}-${kind}`, href: `#/orders/${orderId}` }, `order …${shortId(orderId)}`)),
      heals ? badge("heals by itself", "info") : badge("needs you", "bad")),
    h("p", {}, words.what),
    order === null ? h("p", { class: "small quiet" }, message) : h("dl", { class: "sides" }, side("Order", orderWords(order)), side("Ledger", ledgerWords(kind, ledger))),
    words.next && h("p", {}, h("strong", {}, "What to do: "), words.next),
    h("p", { class: "small quiet" }, `Since ${formatInstant(first)} · seen ${seen === 1 ? "once" : `${seen} times, last ${formatInstant(last)}`}`));
}

const side = (name, words) => h("div", {}, h("dt", {}, name), h("dd", { class: "row" }, words));

function orderWords({ state, captured, refunded }) {
  return [stateBadge(state), h("span", {}, `${formatMoney(captured)} paid, ${formatMoney(refunded)} given back`)];
}

function ledgerWords(kind, ledger) {
  if (ledger === null) return badge(kind === "order_overdue" ? "not asked" : "no hold");
  const { state, captured, refunded, remaining } = ledger;
  return [badge(HOLD_STATES[state] ?? state), h("span", {}, `${formatMoney(captured)} paid, ${formatMoney(refunded)} given back, ${formatMoney(remaining)} still held`)];
}
