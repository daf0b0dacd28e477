/** @file What was given back of an order, by each refund. */

import { read } from "../api.js";
import { h } from "../dom.js";
import { money, badge } from "../parts.js";
import { ProblemError, sentenceFor } from "../problems.js";
import { session } from "../session.js";
import { formatDay, formatExactTime } from "../times.js";
import { actorWords } from "../words.js";

/** More of one order are not shown. */
const SHOWN_MAX = 200;

const STATES = { PENDING: { label: "Under way", mood: "info" }, REFUSED: { label: "Refused", mood: "bad" } };

/**
 * @param {any} order
 * @param {AbortSignal} signal
 * @returns {Promise<any[]>} The newest first.
 */
export async function refundsOf(order, signal) {
  if (order.captured.amount_minor === 0) return [];
  try {
    return (await read(`/api/v1/orders/${order.order_id}/refunds`, { limit: SHOWN_MAX }, signal)).items;
  } catch (error) {
    if (error instanceof ProblemError && [404, 405].includes(error.status)) return []; // an orders service of before
    throw error;
  }
}

/** @param {any} order @param {any[]} refunds */
export function refundList(order, refunds) {
  if (refunds.length === 0) return null;
  return h("div", {},
    h("h3", { id: "given-back" }, "Given back"),
    h("ol", { class: "history", "aria-labelledby": "given-back" }, refunds.map((refund) => item(order, refund))),
    refunds.length === SHOWN_MAX && h("p", { class: "small quiet" }, `Only the newest ${SHOWN_MAX} are shown.`));
}

function item(order, refund) {
  const { label, mood } = STATES[refund.state] ?? { label: "", mood: "" };
  const why = refund.rejection && sentenceFor(refund.rejection.reason, refund.rejection.message);
  return h("li", {},
    h("span", {}, whatFor(order, refund), ` by ${actorWords(`user:${refund.requested_by}`, session.user?.user_id)} `, label && badge(label, mood)),
    money(refund.amount),
    h("time", { class: "small quiet", datetime: refund.created_at }, `${formatDay(refund.created_at)}, ${formatExactTime(refund.created_at)}`),
    why && h("span", { class: "small quiet full" }, why));
}

function whatFor(order, refund) {
  const pieces = refund.lines.filter((one) => one.quantity > 0).map((one) => `${one.quantity} × ${titleOf(order, one)}`);
  return h("strong", {}, pieces.length > 0 ? pieces.join(", ") : "An amount");
}

const titleOf = (order, { line_number: number }) => order.lines.find((line) => line.line_number === number)?.title ?? `line ${number}`;
