/** @file Money that came in from outside, put into somebody's wallet. */

import { announce } from "../announce.js";
import { amountFields, amountOf } from "../amount_field.js";
import { doOnce } from "../api.js";
import { confirmed } from "../confirm.js";
import { fill, h } from "../dom.js";
import { FieldError, field, form } from "../form.js";
import { formatMoney } from "../money.js";
import { pageHead } from "../parts.js";
import { session } from "../session.js";
import { formatInstant } from "../times.js";

const done = /** @type {{email: string, answer: any}[]} */ ([]);
session.addEventListener("change", () => { done.length = 0; });

export function treasuryPage() {
  const list = h("div");
  const draw = () => fill(list, done.length === 0
    ? h("p", { class: "quiet" }, "Deposits that you make appear here with their journal entries.")
    : h("ul", { class: "history" }, done.map(({ email, answer }) => h("li", {},
      h("span", {}, email), h("span", { class: "money in" }, formatMoney(answer.amount, { sign: true })),
      h("span", { class: "small quiet" }, `${formatInstant(answer.recorded_at)} · journal entry ${answer.journal_sequence}${accountSince(answer)}`)))));
  draw();
  return h("div", {},
    pageHead("Treasury", "Money that came in from outside, put into a wallet."),
    h("div", { class: "two-columns" },
      h("section", { class: "card" }, h("h2", {}, "Deposit"), depositForm(draw)),
      h("section", { class: "card" }, h("h2", {}, "Done here"), list)));
}

/** Since when the account is there; a gateway of the version before doesn't tell. */
const accountSince = ({ user_created_at: since }) => (since ? ` · account since ${formatInstant(since)}` : "");

function depositForm(draw) {
  return form({
    label: "Deposit", submit: "Deposit",
    children: [
      field({ name: "email", label: "Whose wallet", type: "email", hint: "The e-mail address of the account. Nobody has checked whose it is: whoever registered it first gets the money.", required: true }),
      amountFields("EUR"),
      field({ name: "note", label: "Note", hint: "For the journal; the owner doesn't see it.", maxlength: 1024 }),
    ],
    act: async (values, element) => {
      const { email, note } = values;
      if (!/^\S+@\S+$/.test(email)) throw new FieldError("email", "Enter an e-mail address.");
      const amount = amountOf(values);
      const agreed = await confirmed({ title: `Deposit ${formatMoney(amount)}?`, text: [`Into the wallet of ${email}.`], yes: "Deposit" });
      if (!agreed) return;
      const { answer } = await doOnce("deposit", "/api/v1/wallet/deposits", { email, amount, note });
      done.unshift({ email, answer });
      announce(`${formatMoney(amount)} deposited.`);
      element.reset();
      draw();
    },
  });
}
