/** @file One order: where it stands, its way through the platform, what can be done with it. */

import { announce } from "../announce.js";
import { read } from "../api.js";
import { fill, h } from "../dom.js";
import { live } from "../live.js";
import { formatMoney } from "../money.js";
import { ProblemError } from "../problems.js";
import { loading, money, pageHead, skeletons, stateBadge } from "../parts.js";
import { session } from "../session.js";
import { traceAddress } from "../settings.js";
import { formatDay, formatExactTime, formatInstant } from "../times.js";
import { traceOf } from "../traces.js";
import { wallet } from "../wallet.js";
import { stepsOf } from "../way.js";
import { wayPicture } from "../way_picture.js";
import { ORDER_STATES, actorWords, shortId } from "../words.js";
import { orderActions } from "./order_actions.js";
import { refundCard } from "./order_refund.js";
import { refundList, refundsOf } from "./order_refunds.js";

/** An order that works by itself is looked at this often. */
const LOOK_MS = 700;
const AT_REST = new Set(["RESERVED", "SETTLED", "PARTIALLY_REFUNDED", "REFUNDED", "REJECTED", "CANCELLED", "EXPIRED", "SETTLEMENT_FAILED"]);

export async function orderPage({ params: [orderId], signal }) {
  const place = h("div");
  let timer = 0;
  let last = "";
  const show = (seen) => {
    const looked = JSON.stringify(seen);
    if (looked !== last && last !== "") announce(`The order is now: ${ORDER_STATES[seen.order.state].label}.`);
    last = looked;
    clearTimeout(timer);
    if (!AT_REST.has(seen.order.state)) timer = setTimeout(look, LOOK_MS);
    return whole(seen, again);
  };
  const look = async () => {
    const seen = await lookAt(orderId, signal).catch(() => null);
    if (signal.aborted) return;
    clearTimeout(timer);
    if (seen === null || (last !== "" && isFilledIn(place))) timer = setTimeout(look, LOOK_MS * 4);
    else if (JSON.stringify(seen) !== last) redraw(place, show(seen));
    else timer = AT_REST.has(seen.order.state) ? 0 : setTimeout(look, LOOK_MS);
  };
  const again = async () => { last = ""; await look(); };
  live.addEventListener("event", (happened) => {
    if (/** @type {CustomEvent} */ (happened).detail.event.fact?.order_id === orderId) look();
  }, { signal });
  for (const event of ["caught-up", "gap"]) live.addEventListener(event, look, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  loading(place, () => lookAt(orderId, signal), show, { signal, waiting: skeletons(4, "tall") });
  return place;
}

/** Whether somebody is in a form there, in which something is typed already. @param {HTMLElement} place */
function isFilledIn(place) {
  const form = place.contains(document.activeElement) ? document.activeElement?.closest("form") : null;
  return [...form?.querySelectorAll("input") ?? []].some((input) => input.value !== input.defaultValue);
}

function redraw(place, content) {
  const active = document.activeElement;
  const hadFocus = place.contains(active);
  fill(place, content);
  if (hadFocus) (document.getElementById(active?.id ?? "") ?? place.querySelector("h1"))?.focus();
}

/** Reads all that is known of an order. */
async function lookAt(orderId, signal) {
  const [order, history] = await Promise.all([
    read(`/api/v1/orders/${orderId}`, {}, signal), read(`/api/v1/orders/${orderId}/history`, {}, signal),
  ]);
  const settled = history.items.find((move) => move.state === "SETTLED");
  const [capturedAt, refunds] = await Promise.all([
    settled?.journal_sequence ? recordedAt(settled.journal_sequence, signal) : null, refundsOf(order, signal),
  ]);
  return { order, moves: history.items, capturedAt, refunds };
}

/** When the ledger wrote a record; null for those whose wallet it didn't touch, such as operators. */
async function recordedAt(journalSequence, signal) {
  try {
    return (await read(`/api/v1/wallet/records/${journalSequence}`, {}, signal)).recorded_at;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return null;
    throw error;
  }
}

function whole({ order, moves, capturedAt, refunds }, again) {
  const trace = traceOf(order.order_id);
  const seenAtMs = wallet.seenAtMs(order.order_id, "funds_captured") ?? wallet.seenAtMs(order.order_id, "sale_credited");
  const rejection = order.rejection?.message ?? null;
  const steps = stepsOf(order, { moves, capturedAt, seenAtMs, sentAtMs: trace?.sentAtMs ?? null, rejection });
  const state = ORDER_STATES[order.state];
  return [
    pageHead(`Order …${shortId(order.order_id)}`, `${state.sentence}`, stateBadge(order.state)),
    h("div", { class: "led-page" },
      h("section", { class: "card lead" }, h("h2", {}, "Its way"), wayPicture(steps)),
      h("div", { class: "side stack" },
        totals(order, trace),
        orderActions(order, again),
        h("section", { class: "card" }, h("h2", {}, "Lines"), h("ul", { class: "history" }, order.lines.map(line))),
        refundCard(order, again)),
      h("section", { class: "card rest" }, h("h2", {}, "History"), h("div", { class: "stack" }, history(moves), refundList(order, refunds)))),
  ];
}

function totals(order, trace) {
  const address = traceAddress(trace?.traceId ?? null);
  return h("section", { class: "card stack" },
    h("p", { class: "total" }, h("span", {}, "Total"), money(order.total)),
    h("dl", { class: "facts" },
      fact(seesAll(order) ? "Paid to sellers" : "Paid to you", formatMoney(order.captured)),
      fact("Given back", formatMoney(order.refunded)),
      fact("Money moves", order.capture === "manual" ? "when confirmed" : "at once"),
      fact("Placed", formatInstant(order.created_at)),
      fact("Buyer", order.buyer_id === session.user?.user_id ? "you" : `…${shortId(order.buyer_id)}`)),
    h("p", { class: "small quiet" }, "Order ", h("code", {}, order.order_id)),
    address && h("p", { class: "small" }, h("a", { href: address, rel: "noopener", target: "_blank" }, "Its trace, span by span (opens in a new tab)")));
}

/** To whom else an order is shown is a seller, and its sums are those of the own lines. */
const seesAll = (order) => order.buyer_id === session.user?.user_id || session.has("operator");

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function line(one) {
  const back = one.refunded_quantity;
  return h("li", {},
    h("span", {}, `${one.quantity} × ${one.title}`), money(one.total),
    h("span", { class: "small quiet" }, formatMoney(one.unit_price), ` each${back > 0 ? ` · ${back} given back` : ""}`));
}

function history(moves) {
  return h("ol", { class: "history" }, moves.map((move) => h("li", {},
    h("span", {}, h("strong", {}, ORDER_STATES[move.state]?.label ?? move.state), ` by ${actorWords(move.actor, session.user?.user_id)}`),
    h("time", { class: "small quiet", datetime: move.at }, `${formatDay(move.at)}, ${formatExactTime(move.at)}`),
    h("span", { class: "small quiet" }, [move.reason, move.journal_sequence && `journal entry ${move.journal_sequence}`].filter(Boolean).join(" · ")))));
}
