/** @file The statement: each posting, and behind it the journal entry with its hash. */

import { read } from "../api.js";
import { h } from "../dom.js";
import { FieldError, field, form } from "../form.js";
import { formatMoney } from "../money.js";
import { empty, linkButton, loading, money, pagedList, skeletons } from "../parts.js";
import { instantsOf } from "../period.js";
import { formatDay, formatExactTime, formatInstant } from "../times.js";
import { kindOf } from "../words.js";

const PAGE = 15;

/**
 * @param {string} currency
 * @param {import("../period.js").Period} period
 * @param {AbortSignal} signal
 * @param {any} [before] The statement as it was, shown until the new one is there.
 */
export function statement(currency, period, signal, before) {
  const isBounded = period.from !== "" || period.until !== "";
  return pagedList({
    name: `Statement in ${currency}`, signal, waiting: before, item: (posting) => entry(posting, signal),
    load: (cursor) => read("/api/v1/wallet/statement", { currency, ...instantsOf(period), order: "newest_first", limit: PAGE, cursor }, signal),
    none: () => (isBounded
      ? empty("Nothing moved in these days", "There may be entries before or after.", linkButton(`#/wallet?currency=${currency}`, "Show all days", "plain"))
      : empty("Nothing has moved yet", "Each payment, refund and deposit will have its line here, and its journal entry behind it.")),
  });
}

/** @param {import("../period.js").Period} period @param {(chosen: import("../period.js").Period) => void} choose */
export function periodForm(period, choose) {
  return form({
    label: "Days of the statement", submit: "Show", plain: true, kind: "inline-form",
    children: [
      field({ name: "from", label: "From", type: "date", value: period.from }),
      field({ name: "until", label: "To", type: "date", value: period.until }),
    ],
    act: async ({ from, until }) => {
      if (from && until && until < from) throw new FieldError("until", "The last day is before the first one.");
      choose({ from, until });
    },
  });
}

function entry(posting, signal) {
  const received = posting.amount.amount_minor > 0;
  const body = h("div", { class: "entry-body" });
  const details = h("details", { class: "entry" },
    h("summary", {},
      h("span", { class: "list-title" }, kindOf(posting.kind, received)),
      h("span", { class: `money ${received ? "in" : ""}` }, formatMoney(posting.amount, { sign: true })),
      h("span", { class: "small quiet" }, formatInstant(posting.recorded_at)),
      h("span", { class: "small quiet money" }, `balance ${formatMoney(posting.balance)}`)),
    body);
  details.addEventListener("toggle", () => {
    if (body.childElementCount === 0) {
      loading(body, () => read(`/api/v1/wallet/records/${posting.journal_sequence}`, {}, signal), record, { signal, waiting: skeletons(1) });
    }
  });
  return h("li", {}, details);
}

function record(one) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("div", { class: "stack-small" },
    h("dl", { class: "facts" },
      fact("Journal entry", one.journal_sequence),
      fact("Recorded", `${formatDay(one.recorded_at)}, ${formatExactTime(one.recorded_at)}`),
      one.order_id && fact("Order", h("a", { href: `#/orders/${one.order_id}` }, "Show the order"))),
    h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Postings" },
      h("table", { class: "table small" },
        h("thead", {}, h("tr", {}, h("th", {}, "Your account"), h("th", { class: "numbers" }, "Amount"), h("th", { class: "numbers" }, "Balance after"))),
        h("tbody", {}, one.postings.map((posting) => h("tr", {},
          h("td", { class: "mono" }, posting.account_code),
          h("td", { class: "numbers" }, formatMoney(posting.amount, { sign: true })),
          h("td", { class: "numbers" }, money(posting.balance_after))))))),
    h("p", { class: "small quiet" }, "Chained by its hash ", h("code", {}, one.hash)));
}
