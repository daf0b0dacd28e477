/** @file Giving money back for pieces of lines. */

import { FieldError, field, form } from "../form.js";
import { formatMoney, sum, times } from "../money.js";

/**
 * @param {any[]} lines With pieces that can come back.
 * @param {(body: unknown, total: import("../money.js").Money, text: string[]) => Promise<void>} refund
 */
export function piecesForm(lines, refund) {
  return form({
    label: "Refund pieces", submit: "Refund pieces", plain: true,
    children: lines.map((line) => field({
      name: `line-${line.line_number}`, label: `${line.title}: pieces to refund`, hint: hintOf(line),
      type: "number", inputmode: "numeric", min: 0, max: leftOf(line), value: 0,
    })),
    act: async (values) => {
      const wanted = lines.map((line) => ({ line, quantity: quantityOf(line, values) })).filter(({ quantity }) => quantity > 0);
      if (wanted.length === 0) throw new FieldError(`line-${lines[0].line_number}`, "Say how many pieces to refund.");
      const body = { lines: wanted.map(({ line, quantity }) => ({ line_number: line.line_number, quantity })) };
      const total = sum(wanted.map(({ line, quantity }) => broughtBy(line, quantity)));
      await refund(body, total, ["The buyer gets it at once; you give back your part, and the platform its fee."]);
    },
  });
}

/** What can still go back for a line; an orders service of before tells only the pieces. */
export function refundableOf(line) {
  return line.refundable ?? times(line.unit_price, leftOf(line));
}

const leftOf = (line) => line.quantity - line.refunded_quantity;

/** What went back for a line without pieces is missing when its pieces come. */
function broughtBy(line, quantity) {
  const pieces = times(line.unit_price, quantity);
  return { ...pieces, amount_minor: Math.min(pieces.amount_minor, refundableOf(line).amount_minor) };
}

function hintOf(line) {
  const all = times(line.unit_price, leftOf(line));
  const less = refundableOf(line).amount_minor < all.amount_minor;
  return `${leftOf(line)} can come back, ${formatMoney(line.unit_price)} each${less ? `; ${formatMoney(refundableOf(line))} of it can still go back` : ""}.`;
}

function quantityOf(line, values) {
  const text = values[`line-${line.line_number}`];
  const quantity = Number(text);
  if (!/^\d+$/.test(text) || quantity > leftOf(line)) throw new FieldError(`line-${line.line_number}`, `Enter a whole number from 0 to ${leftOf(line)}.`);
  return quantity;
}
