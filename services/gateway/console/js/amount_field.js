/** @file A field for an amount and its currency. */

import { FieldError, field, select } from "./form.js";
import { fill, h } from "./dom.js";
import { decimal, fractionDigits, parseMoney } from "./money.js";

/** What is offered; the ledger knows more. */
export const CURRENCIES = ["EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN"];

/** @param {string} [currency] The one that is chosen at first. @param {(currency: string) => string} [hintOf] Says what holds for one. */
export function amountFields(currency = "EUR", hintOf) {
  const codes = CURRENCIES.includes(currency) ? CURRENCIES : [currency, ...CURRENCIES];
  const control = /** @type {HTMLSelectElement} */ (select(codes.map((code) => [code, code]), currency));
  const hint = hintOf && h("span", {}, hintOf(currency));
  if (hint) control.addEventListener("change", () => fill(hint, hintOf(control.value)));
  return h("div", { class: "fields" },
    field({ name: "amount", label: "Amount", inputmode: "decimal", autocomplete: "off", required: true, hint }),
    field({ name: "currency", label: "Currency", control }));
}

/** @param {Record<string, string>} values Of a form. */
export function amountOf({ amount, currency }) {
  const money = parseMoney(amount, currency);
  const example = decimal(1250, fractionDigits(currency));
  if (money === null) throw new FieldError("amount", `Enter an amount in ${currency}, such as ${example}, above zero.`);
  return money;
}
