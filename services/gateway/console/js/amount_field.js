/** @file A field for an amount and its currency. */

import { FieldError, field, select } from "./form.js";
import { h } from "./dom.js";
import { decimal, fractionDigits, parseMoney } from "./money.js";

/** What is offered; the ledger knows more. */
export const CURRENCIES = ["EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN"];

/** @param {string} [currency] The one that is chosen at first. @param {string} [hint] */
export function amountFields(currency = "EUR", hint) {
  const codes = CURRENCIES.includes(currency) ? CURRENCIES : [currency, ...CURRENCIES];
  return h("div", { class: "fields" },
    field({ name: "amount", label: "Amount", inputmode: "decimal", autocomplete: "off", required: true, hint }),
    field({ name: "currency", label: "Currency", control: select(codes.map((code) => [code, code]), currency) }));
}

/** @param {Record<string, string>} values Of a form. */
export function amountOf({ amount, currency }) {
  const money = parseMoney(amount, currency);
  const example = decimal(1250, fractionDigits(currency));
  if (money === null) throw new FieldError("amount", `Enter an amount in ${currency}, such as ${example}, above zero.`);
  return money;
}
