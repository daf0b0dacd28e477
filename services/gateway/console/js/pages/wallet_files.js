/** @file The statement as files: for a spreadsheet, and as a proof that is checked without the platform. */

import { read, readText } from "../api.js";
import { csv } from "../csv.js";
import { h } from "../dom.js";
import { download } from "../download.js";
import { actionButton } from "../form.js";
import { decimal, fractionDigits } from "../money.js";
import { instantsOf } from "../period.js";
import { ProblemError } from "../problems.js";

const PATH = "/api/v1/wallet/statement";
const PAGE = 200;
const ROWS_MAX = 10_000;
/** What the ledger puts into one proof. */
const PROVEN_ROWS_MAX = 1000;
const COLUMNS = ["recorded_at", "effective_at", "kind", "amount", "balance", "currency", "order_id", "journal_entry", "entry_of_account"];

/** @param {string} currency @param {import("../period.js").Period} period @param {AbortSignal} signal */
export function statementFiles(currency, period, signal) {
  const wanted = { currency, ...instantsOf(period) };
  const name = ["statement", currency, period.from, period.until].filter(Boolean).join("-");
  const problems = h("div", { role: "alert" }), done = h("p", { class: "small quiet", role: "status" });
  const make = (label, type, ending, content, told) => actionButton({ label, kind: "plain small-button", problems, act: async () => {
    done.textContent = "";
    const { text, rows } = await content(wanted, signal);
    download(`${name}.${ending}`, text, type);
    done.textContent = `${name}.${ending} has ${rows === 1 ? "one entry" : `${rows} entries`}.${told}`;
  } });
  return h("div", { class: "stack-small" },
    h("div", { class: "row" },
      make("Download CSV", "text/csv", "csv", table, ""),
      make("Download a proof", "application/json", "json", proof, " It is checked by: tradeflow statement check FILE")),
    problems, done);
}

async function table(wanted, signal) {
  const items = [];
  let cursor = null;
  do {
    const page = await read(PATH, { ...wanted, order: "oldest_first", limit: PAGE, cursor }, signal);
    items.push(...page.items);
    cursor = page.next_cursor;
    if (items.length > ROWS_MAX) throw tooMany(ROWS_MAX);
  } while (cursor !== null);
  return { text: csv([COLUMNS, ...items.map(row)]), rows: items.length };
}

function row(one) {
  const { currency } = one.amount;
  const written = ({ amount_minor: minor }) => decimal(minor, fractionDigits(currency));
  return [one.recorded_at, one.effective_at, one.kind, written(one.amount), written(one.balance), currency, one.order_id, one.journal_sequence, one.account_sequence];
}

/** The file is kept as the ledger wrote it: it is signed. */
async function proof(wanted, signal) {
  const [first, last] = await Promise.all(["oldest_first", "newest_first"].map((order) => entryAt(order, wanted, signal)));
  if (first === null || last === null) throw new ProblemError({ status: 404, reason: "nothing_to_prove" });
  if (last - first >= PROVEN_ROWS_MAX) throw tooMany(PROVEN_ROWS_MAX);
  const range = { currency: wanted.currency, from_account_sequence: first, to_account_sequence: last };
  const text = await readText(`${PATH}/proof`, range, signal);
  return { text, rows: JSON.parse(text).to_account_sequence - first + 1 };
}

async function entryAt(order, wanted, signal) {
  const { items } = await read(PATH, { ...wanted, order, limit: 1 }, signal);
  return items.length === 0 ? null : items[0].account_sequence;
}

const tooMany = (most) => new ProblemError({ status: 400, reason: "too_many_entries", detail: `More than ${most} entries are too many for one file: choose fewer days.` });
