/** @file Confirming and cancelling an order. */

import { announce } from "../announce.js";
import { doOnce } from "../api.js";
import { confirmed } from "../confirm.js";
import { h } from "../dom.js";
import { actionButton } from "../form.js";
import { formatMoney } from "../money.js";
import { session } from "../session.js";

const CANCELLABLE = new Set(["PENDING", "RESERVED", "CONFIRMED", "SETTLED", "PARTIALLY_REFUNDED"]);
const PAID = new Set(["SETTLED", "PARTIALLY_REFUNDED"]);

/**
 * @param {any} order
 * @param {() => Promise<void>} again Looks at the order anew.
 */
export function orderActions(order, again) {
  const problems = h("div", { role: "alert" });
  const isBuyer = order.buyer_id === session.user?.user_id;
  const isSeller = order.lines.some((line) => line.seller_id === session.user?.user_id);
  const canConfirm = order.state === "RESERVED" && (isBuyer || isSeller);
  const canCancel = isBuyer && CANCELLABLE.has(order.state);
  if (!canConfirm && !canCancel) return null;
  return h("section", { class: "card stack" },
    h("h2", {}, "What you can do"),
    h("div", { class: "row" },
      canConfirm && actionButton({ label: "Confirm", problems, act: () => confirm(order, again) }),
      canCancel && actionButton({ label: PAID.has(order.state) ? "Cancel and get it all back" : "Cancel the order", kind: "grave", problems, act: () => cancel(order, again) })),
    problems);
}

async function confirm(order, again) {
  const agreed = await confirmed({ title: `Pay ${formatMoney(order.total)} to the sellers?`, text: ["The held money moves now."], yes: "Confirm the order" });
  if (!agreed) return;
  await doOnce(`confirm-order ${order.order_id}`, `/api/v1/orders/${order.order_id}/confirm`);
  announce("The order is confirmed.");
  await again();
}

async function cancel(order, again) {
  const agreed = await confirmed({
    title: "Cancel this order?", yes: "Cancel the order", grave: true,
    text: [PAID.has(order.state) ? "The sellers give back what isn't given back yet." : `${formatMoney(order.total)} are free again in the wallet.`],
  });
  if (!agreed) return;
  await doOnce(`cancel-order ${order.order_id}`, `/api/v1/orders/${order.order_id}/cancel`);
  announce("The order is being cancelled.");
  await again();
}
