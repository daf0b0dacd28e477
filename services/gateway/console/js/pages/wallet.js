/** @file The wallet: what there is, moving live, and the journal entry behind each change. */

import { announce } from "../announce.js";
import { amountFields, amountOf } from "../amount_field.js";
import { doOnce } from "../api.js";
import { confirmed } from "../confirm.js";
import { fill, h } from "../dom.js";
import { form } from "../form.js";
import { live } from "../live.js";
import { formatMoney } from "../money.js";
import { money, pageHead } from "../parts.js";
import { periodOf, periodQuery } from "../period.js";
import { settings } from "../settings.js";
import { spaced } from "../spaced.js";
import { formatExactTime } from "../times.js";
import { wallet } from "../wallet.js";
import { signed, storyOf } from "../words.js";
import { statementFiles } from "./wallet_files.js";
import { periodForm, statement } from "./wallet_statement.js";

const FEED_MAX = 6;
/** The statement is read anew no more often than this: a seller's money may move many times a second. */
const RESTATE_MS = 1500;

export function walletPage({ query, signal }) {
  const wanted = query.get("currency");
  let period = periodOf(query);
  const shown = () => wanted ?? wallet.main?.currency ?? "EUR";
  const head = h("div");
  const feed = h("div");
  const fresh = h("div");
  const entries = h("div");
  const files = h("div");
  let stated = "";
  const restate = () => {
    const isNew = stated !== shown();
    if (isNew) fill(files, statementFiles(shown(), period, signal));
    stated = shown();
    fill(fresh);
    fill(entries, statement(stated, period, signal, isNew ? undefined : [...entries.childNodes]));
  };
  const entriesChanged = spaced(() => {
    if (isBeingRead(entries)) fill(fresh, newEntries(restate));
    else restate();
  }, RESTATE_MS, signal);
  const draw = (moved) => {
    fill(head, balanceCard(shown(), period, moved));
    fill(feed, happenings());
    if (stated !== shown()) restate();
    else if (moved === shown()) entriesChanged();
  };
  const choose = (chosen) => {
    period = chosen;
    stated = "";
    history.replaceState(null, "", addressOf(shown(), period)); // no new page: who chose days stays where they are
    draw(null);
  };
  wallet.addEventListener("change", (event) => draw(/** @type {CustomEvent} */ (event).detail.moved), { signal });
  live.addEventListener("state", () => fill(feed, happenings()), { signal });
  live.addEventListener("gap", entriesChanged, { signal });
  draw(null);
  return h("div", {},
    pageHead("Wallet", "It moves the moment the ledger commits; nothing needs a reload."),
    h("div", { class: "led-page" },
      h("div", { class: "lead" }, head),
      h("div", { class: "side stack" },
        h("section", { class: "card" }, h("h2", {}, "Happening now"), feed),
        settings.top_up_minor_max > 0 && topUpCard(shown),
        withdrawCard(shown)),
      h("section", { class: "rest stack-small" }, h("h2", {}, "Statement"), periodForm(period, choose), files, fresh, entries)));
}

const addressOf = (currency, period) => `#/wallet?${new URLSearchParams([["currency", currency], ...periodQuery(period)])}`;

/** Whether somebody would lose the place if the entries were drawn anew. */
function isBeingRead(entries) {
  return entries.querySelector("details[open]") !== null || entries.contains(document.activeElement);
}

function newEntries(show) {
  return h("button", { class: "button plain small-button", type: "button", on: { click: show } }, "Show the new entries");
}

function balanceCard(currency, period, moved) {
  const balance = wallet.balances.get(currency);
  if (!wallet.known) return h("div", { class: "skeleton tall", "aria-hidden": "true" });
  const zero = { amount_minor: 0, currency };
  const others = [...wallet.balances.keys()].sort();
  return h("section", { class: "card balance", "aria-label": "Balance" },
    others.length > 1 && h("nav", { class: "segments", "aria-label": "Currencies" }, others.map((code) => h("a", { href: addressOf(code, period), "aria-current": code === currency ? "true" : null }, code))),
    h("p", { class: "quiet" }, "Available"),
    h("p", { class: `balance-amount ${moved === currency ? "moved" : ""}`, id: "available" }, formatMoney(balance?.available ?? zero)),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Settled"), h("dd", {}, money(balance?.posted ?? zero))),
      h("div", {}, h("dt", {}, "Held for orders"), h("dd", {}, money(balance?.pending_outgoing ?? zero))),
      balance && balance.overdraft_limit.amount_minor > 0 && h("div", {}, h("dt", {}, "Overdraft limit"), h("dd", {}, money(balance.overdraft_limit)))));
}

function happenings() {
  const state = { live: "Live: connected.", connecting: "Connecting …", lost: "The connection is lost; trying again.", off: "" }[live.state];
  return h("div", { class: "stack-small" },
    h("p", { class: "small quiet" }, h("span", { class: `pulse ${live.state === "live" ? "live" : "lost"}` }), ` ${state}`),
    wallet.recent.length === 0
      ? h("p", { class: "quiet" }, "What happens from now on appears here.")
      : h("ol", { class: "feed" }, wallet.recent.slice(0, FEED_MAX).map(happening)));
}

function happening({ event, missed, seenAtMs }, index) {
  const story = storyOf(event);
  return h("li", { class: index === 0 && Date.now() - seenAtMs < 1500 ? "new" : null },
    h("time", { class: "small quiet" }, formatExactTime(event.recorded_at).slice(0, 8)),
    h("span", {}, story.text, missed && h("span", { class: "small quiet" }, " (while away)")),
    h("span", { class: `money ${story.direction > 0 ? "in" : ""}` }, signed(story)));
}

function topUpCard(shown) {
  return h("section", { class: "card" }, h("h2", {}, "Top up"),
    form({
      label: "Top up", submit: "Top up",
      children: [h("p", { class: "quiet" }, "This platform is for trying out: money is free."), amountFields(shown(), (currency) => `Up to ${formatMoney({ amount_minor: settings.top_up_minor_max, currency })}.`)],
      act: async (values, element) => {
        const amount = amountOf(values);
        await doOnce("top-up", "/console/top-ups", { amount });
        announce(`${formatMoney(amount)} are on their way.`);
        element.reset();
      },
    }));
}

function withdrawCard(shown) {
  return h("details", { class: "card fold" }, h("summary", {}, "Withdraw"),
    form({
      label: "Withdraw", submit: "Withdraw", plain: true,
      children: [amountFields(shown())],
      act: async (values, element) => {
        const amount = amountOf(values);
        const agreed = await confirmed({ title: `Withdraw ${formatMoney(amount)}?`, text: ["It leaves your wallet at once."], yes: "Withdraw" });
        if (!agreed) return;
        await doOnce("withdraw", "/api/v1/wallet/withdrawals", { amount });
        announce(`${formatMoney(amount)} withdrawn.`);
        element.reset();
      },
    }));
}
