/** @file Giving an amount back, without any piece. */

import { amountOf } from "../amount_field.js";
import { FieldError, field, form } from "../form.js";
import { formatMoney } from "../money.js";

/**
 * @param {import("../money.js").Money} left What can still go back.
 * @param {number} lines For how many lines.
 * @param {(body: unknown, total: import("../money.js").Money, text: string[]) => Promise<void>} refund
 */
export function amountForm(left, lines, refund) {
  const { currency } = left;
  return form({
    label: "Refund an amount", submit: "Refund the amount", plain: true,
    children: [field({
      name: "amount", label: `Amount in ${currency}`, inputmode: "decimal", autocomplete: "off",
      hint: `At most ${formatMoney(left)}${lines > 1 ? "; the first lines give it" : ""}.`,
    })],
    act: async ({ amount: text }) => {
      const amount = amountOf({ amount: text, currency });
      const rest = { amount_minor: left.amount_minor - amount.amount_minor, currency };
      if (rest.amount_minor < 0) throw new FieldError("amount", `At most ${formatMoney(left)} can still go back.`);
      await refund({ amount }, amount, ["The buyer gets it at once and keeps the goods.", `After that, ${formatMoney(rest)} can still go back.`]);
    },
  });
}
