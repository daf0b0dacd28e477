/** @file Giving money back: for sellers out of their own lines, and for operators out of all. */

import { announce } from "../announce.js";
import { doOnce } from "../api.js";
import { confirmed } from "../confirm.js";
import { h } from "../dom.js";
import { formatMoney, sum } from "../money.js";
import { session } from "../session.js";
import { amountForm } from "./order_refund_amount.js";
import { piecesForm, refundableOf } from "./order_refund_pieces.js";

const REFUNDABLE = new Set(["SETTLED", "PARTIALLY_REFUNDED"]);

/**
 * @param {any} order
 * @param {() => Promise<void>} again Looks at the order anew.
 */
export function refundCard(order, again) {
  const lines = order.lines.filter((line) => isMine(line) && refundableOf(line).amount_minor > 0);
  if (!REFUNDABLE.has(order.state) || lines.length === 0) return null;
  const left = leftOf(order, lines);
  if (left.amount_minor <= 0) return null;
  const refund = async (body, total, text) => {
    const agreed = await confirmed({ title: `Refund ${formatMoney(total)}?`, yes: "Refund", text });
    if (!agreed) return;
    await doOnce(`refund-order ${order.order_id}`, `/api/v1/orders/${order.order_id}/refunds`, body);
    announce(`${formatMoney(total)} are being refunded.`);
    await again();
  };
  const withPieces = lines.filter((line) => line.quantity > line.refunded_quantity);
  return h("section", { class: "card stack" },
    h("h2", {}, "Give money back"),
    h("p", { class: "total" }, h("span", {}, "Can still go back"), h("span", { class: "money" }, formatMoney(left))),
    withPieces.length > 0 && h("div", { class: "stack-small" }, h("h3", {}, "For pieces that come back"), piecesForm(withPieces, refund)),
    h("div", { class: "stack-small" }, h("h3", {}, "An amount, and the buyer keeps the goods"), amountForm(left, lines.length, refund)));
}

const isMine = (line) => session.has("operator") || line.seller_id === session.user?.user_id;

/** The ledger may have given back more than the lines know of. */
function leftOf(order, lines) {
  const ofLines = sum(lines.map(refundableOf));
  const ofOrder = order.captured.amount_minor - order.refunded.amount_minor;
  return { ...ofLines, amount_minor: Math.min(ofLines.amount_minor, ofOrder) };
}
