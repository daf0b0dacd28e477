/** @file What the platform's words mean, for people: states of orders, events of wallets, kinds of records, invariants. */

import { formatMoney } from "./money.js";

/** @typedef {"good"|"info"|"warn"|"bad"|""} Mood */

/** @type {Record<string, {label: string, mood: Mood, sentence: string}>} */
export const ORDER_STATES = {
  PENDING: { label: "Placed", mood: "info", sentence: "The order is kept and its stock set aside; the ledger hasn't answered yet." },
  RESERVED: { label: "Money held", mood: "warn", sentence: "The money is held. It moves once the buyer or a seller confirms." },
  CONFIRMED: { label: "Confirmed", mood: "info", sentence: "The hold is permanent and the ledger was told to pay the sellers." },
  SETTLED: { label: "Paid", mood: "good", sentence: "The sellers are paid." },
  PARTIALLY_REFUNDED: { label: "Partly refunded", mood: "warn", sentence: "A part of the money went back to the buyer." },
  REFUNDED: { label: "Refunded", mood: "", sentence: "All of the money went back to the buyer." },
  CANCELLING: { label: "Cancelling", mood: "info", sentence: "The ledger is being asked to let the money go." },
  EXPIRING: { label: "Expiring", mood: "info", sentence: "Nobody confirmed in time; the ledger is being asked to let the money go." },
  REFUNDING: { label: "Refunding", mood: "info", sentence: "The ledger is being asked to give the money back." },
  REJECTED: { label: "Rejected", mood: "bad", sentence: "The ledger refused to hold the money; the stock is back." },
  CANCELLED: { label: "Cancelled", mood: "", sentence: "The order was called off; money and stock are free again." },
  EXPIRED: { label: "Expired", mood: "", sentence: "Nobody confirmed in time; money and stock are free again." },
  SETTLEMENT_FAILED: { label: "Not paid", mood: "bad", sentence: "The ledger refused to pay the sellers; money and stock are free again." },
};

const KINDS = {
  account_opened: "Account opened", deposit: "Deposit", reserve: "Hold", commit: "Hold made permanent", capture: "Order paid",
  void: "Hold released", expire: "Hold ran out", refund: "Refund", withdraw: "Withdrawal", transfer: "Transfer",
  limit_set: "Limit changed", reverse: "Reversal",
};

/** @param {string} kind Of a journal record. @param {boolean} received */
export function kindOf(kind, received) {
  if (kind === "capture" && received) return "Sale";
  if (kind === "refund" && !received) return "Refund given";
  return KINDS[kind] ?? kind;
}

/**
 * Says what an event did to the wallet, and by how much the spendable amount changed, where the event tells.
 * @param {import("./live.js").WalletEvent} event
 * @returns {{text: string, amount: import("./money.js").Money|null, direction: 1|-1|0}}
 */
export function storyOf({ kind, fact }) {
  const told = (text, amount = null, direction = 0) => ({ text, amount, direction: /** @type {1|-1|0} */ (direction) });
  switch (kind) {
    case "account_opened": return told("Account opened");
    case "funds_deposited": return told("Deposit", fact.amount, 1);
    case "funds_withdrawn": return told("Withdrawal", fact.amount, -1);
    case "funds_transferred": return told("Transfer", magnitude(fact.amount), Math.sign(fact.amount.amount_minor));
    case "funds_reserved": return told("Held for an order", fact.hold.held, -1);
    case "hold_committed": return told("Hold made permanent");
    case "funds_captured": return told("Order paid from the hold", fact.amount, 0);
    case "hold_voided": return told("Hold released", fact.hold.voided, 1);
    case "hold_expired": return told("Hold ran out", fact.hold.voided, 1);
    case "sale_credited": return told(`Sale, ${formatMoney(fact.fee)} fee`, fact.net, 1);
    case "refund_credited": return told("Refund received", fact.amount, 1);
    case "refund_debited": return told("Refund given", fact.net, -1);
    case "settlement_refused": return told("A payment was refused");
    case "limit_changed": return told("Overdraft limit changed");
    case "record_reversed": return told("A record was reversed", magnitude(fact.amount), Math.sign(fact.amount?.amount_minor ?? 0));
    default: return told("The balance changed");
  }
}

/** @param {ReturnType<typeof storyOf>} story */
export function signed({ amount, direction }) {
  if (amount === null) return "";
  return formatMoney({ ...amount, amount_minor: direction < 0 ? -amount.amount_minor : amount.amount_minor }, { sign: direction !== 0 });
}

/** What the ledger's audit looks for. */
export const INVARIANTS = {
  zero_sum: "All balances of a currency sum to zero",
  balances_match_postings: "Each balance is what its last posting says",
  limits_kept: "No wallet is below its limit",
  pending_is_held: "What is pending is what open holds hold",
  holds_add_up: "Captured, voided and remaining add up to each hold",
  journal_chained: "The journal is chained without a gap, each entry sums to zero",
  events_match_journal: "Each wallet's events follow the journal without a gap",
};

/** States of holds. */
export const HOLD_STATES = {
  OPEN: "Held", COMMITTED: "Held for good", CAPTURED: "Paid", VOIDED: "Released", EXPIRED: "Ran out",
};

/** What the comparison of orders with the ledger finds, and what is to be done then. @type {Record<string, {label: string, what: string, next: string}>} */
export const DISCREPANCIES = {
  capture_missed: { label: "Payment not heard of", what: "The sellers are paid, and the order hasn't heard of it.", next: "Wait a minute: the platform settles the order by itself." },
  capture_overdue: { label: "Payment overdue", what: "The order is confirmed, and the ledger hasn't paid its sellers.", next: "The ledger was told again. If it stays, look at the outbox of orders and at the ledger's dead letters; where neither has its event, run tradeflow reconcile --heal, which tells it once more." },
  refund_missed: { label: "Refund not heard of", what: "The ledger gave back more than the order knows of.", next: "Wait a minute: the platform takes it over by itself." },
  money_held: { label: "Money still held", what: "The order is over, and money is still held for it.", next: "Wait a minute: the platform lets it go by itself." },
  hold_missing: { label: "No hold", what: "The order was paid for, and the ledger has no hold of it.", next: "Find out whether one of the two was restored from an older backup; the order's history names the journal entries." },
  hold_foreign: { label: "Another's hold", what: "The hold is of another wallet or currency than the order.", next: "Somebody changed a database: compare the order's history with the journal, and keep the logs of both services." },
  captured_unsold: { label: "Paid for nothing", what: "The order came to nothing, and its sellers are paid.", next: "Let the treasury reverse the capture: the buyer gets the money back." },
  capture_differs: { label: "Other amount paid", what: "The ledger paid another amount than the order knows of.", next: "The ledger is right about money: bring the order to what it says, and keep the logs of both services." },
  refund_missing: { label: "Refund not made", what: "The order knows of refunds that the ledger hasn't made.", next: "The buyer is short of money: let the treasury give it, and bring the order to what the ledger says." },
  order_overdue: { label: "Stuck", what: "The order has been in the middle of something for too long.", next: "Look whether the ledger answers, and in the log of orders for the order's id." },
};

/** @param {string} id */
export const shortId = (id) => id.replaceAll("-", "").slice(-8);

/** @param {string} actor Of an order's history. @param {string|undefined} myId */
export function actorWords(actor, myId) {
  if (actor === `user:${myId}`) return "you";
  if (actor.startsWith("user:")) return `user …${shortId(actor)}`;
  return actor === "seller" ? "another seller" : `the ${actor}`;
}

function magnitude(amount) {
  return amount ? { ...amount, amount_minor: Math.abs(amount.amount_minor) } : null;
}
