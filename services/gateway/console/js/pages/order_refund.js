/** @file Giving money back, line by line: for sellers of the lines, and for operators. */

import { announce } from "../announce.js";
import { doOnce } from "../api.js";
import { confirmed } from "../confirm.js";
import { h } from "../dom.js";
import { FieldError, field, form } from "../form.js";
import { formatMoney, sum, times } from "../money.js";
import { session } from "../session.js";

const REFUNDABLE = new Set(["SETTLED", "PARTIALLY_REFUNDED"]);

/**
 * @param {any} order
 * @param {() => Promise<void>} again Looks at the order anew.
 */
export function refundForm(order, again) {
  const isMine = (line) => session.has("operator") || line.seller_id === session.user?.user_id;
  const lines = order.lines.filter((line) => isMine(line) && line.quantity > line.refunded_quantity);
  if (!REFUNDABLE.has(order.state) || lines.length === 0) return null;
  return h("section", { class: "card stack" },
    h("h2", {}, "Give money back"),
    form({
      label: "Refund", submit: "Refund", plain: true,
      children: lines.map((line) => field({
        name: `line-${line.line_number}`, label: `${line.title}: pieces to refund`, hint: `${line.quantity - line.refunded_quantity} can be given back, ${formatMoney(line.unit_price)} each.`,
        type: "number", inputmode: "numeric", min: 0, max: line.quantity - line.refunded_quantity, value: 0,
      })),
      act: async (values) => {
        const wanted = lines.map((line) => ({ line, quantity: quantityOf(line, values) })).filter(({ quantity }) => quantity > 0);
        if (wanted.length === 0) throw new FieldError(`line-${lines[0].line_number}`, "Say how many pieces to refund.");
        await refund(order, wanted);
        await again();
      },
    }));
}

function quantityOf(line, values) {
  const text = values[`line-${line.line_number}`];
  const quantity = Number(text);
  const most = line.quantity - line.refunded_quantity;
  if (!/^\d+$/.test(text) || quantity > most) throw new FieldError(`line-${line.line_number}`, `Enter a whole number from 0 to ${most}.`);
  return quantity;
}

async function refund(order, wanted) {
  const total = sum(wanted.map(({ line, quantity }) => times(line.unit_price, quantity)));
  const agreed = await confirmed({
    title: `Refund ${formatMoney(total)}?`, yes: "Refund", text: ["The buyer gets it at once; you give back your part, and the platform its fee."],
  });
  if (!agreed) return;
  const lines = wanted.map(({ line, quantity }) => ({ line_number: line.line_number, quantity }));
  await doOnce(`refund-order ${order.order_id}`, `/api/v1/orders/${order.order_id}/refunds`, { lines });
  announce(`${formatMoney(total)} are being refunded.`);
}
