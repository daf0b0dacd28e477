/** @file The way of an order in its nine steps: what has happened and when, what is under way, what never will. Pure. */

import { milliseconds } from "./times.js";

/** @typedef {"done"|"current"|"waiting"|"failed"|"skipped"} StepState */
/** @typedef {{title: string, lane: number, state: StepState, atMs: number|null, note: string}} Step */
/** @typedef {{state: string, at: string, journal_sequence: number|null, reason: string}} Move */
/** @typedef {{moves: Move[], capturedAt: string|null, seenAtMs: number|null, sentAtMs: number|null, rejection: string|null}} Known */

export const LANES = ["You", "Gateway", "Orders", "Topics", "Ledger"];

const TITLES = [
  ["Order sent", 1], ["Stock set aside", 2], ["Money held", 4], ["Order confirmed", 2], ["Published", 3],
  ["Sellers paid", 4], ["Order settled", 2], ["Given to the gateway", 1], ["Shown here, live", 0],
];

const BROKEN = { REJECTED: 3, SETTLEMENT_FAILED: 6 };
const CALLED_OFF = new Set(["CANCELLED", "EXPIRED", "CANCELLING", "EXPIRING"]);

/**
 * @param {{state: string, capture: string}} order
 * @param {Known} known
 * @returns {Step[]}
 */
export function stepsOf(order, known) {
  const at = timesOf(known);
  const done = reached(order, known, at);
  return TITLES.map(([title, lane], index) => {
    const number = index + 1;
    const state = stateOf(order.state, number, done);
    return {
      title: String(title), lane: Number(lane), state,
      atMs: state === "done" || state === "failed" ? at[number] ?? null : null,
      note: noteOf(order, known, number, state, at),
    };
  });
}

/** When each step happened, by its number, where a clock was kept. */
function timesOf({ moves, capturedAt, seenAtMs, sentAtMs }) {
  const first = (state) => {
    const move = moves.find((one) => one.state === state);
    return move ? milliseconds(move.at) : null;
  };
  return {
    1: sentAtMs, 2: first("PENDING"), 3: first("RESERVED") ?? first("REJECTED"), 4: first("CONFIRMED"), 5: null,
    6: capturedAt ? milliseconds(capturedAt) : first("SETTLEMENT_FAILED"), 7: first("SETTLED"), 8: null, 9: seenAtMs,
  };
}

/** The last step that is known to have happened. */
function reached(order, known, at) {
  if (known.seenAtMs !== null) return 9;
  if (at[7] !== null) return 9; // the event is in the wallet's history: whoever looks has it
  if (known.capturedAt !== null) return 6;
  if (at[4] !== null) return order.state === "SETTLEMENT_FAILED" ? 5 : 4;
  if (at[3] !== null && order.state !== "REJECTED") return 3;
  return at[2] !== null ? 2 : 1;
}

/** @returns {StepState} */
function stateOf(orderState, number, done) {
  const broken = BROKEN[orderState];
  if (broken === number) return "failed";
  if (number <= done && !(broken && number > broken)) return "done";
  if (broken || CALLED_OFF.has(orderState)) return "skipped";
  return number === done + 1 ? "current" : "waiting";
}

function noteOf(order, known, number, state, at) {
  if (state === "failed") return known.rejection ?? "The ledger refused.";
  if (state === "skipped") return number === 5 || number === 4 ? "The order was called off before." : "";
  if (state === "current") return current(order, number);
  if (state === "waiting") return "";
  switch (number) {
    case 1: return known.sentAtMs === null ? "Checked at the door and passed on." : "By this browser, with a key of its own.";
    case 2: return "Durable before any money is asked for.";
    case 3: return "Asked twice, held once: the order is the key.";
    case 4: return order.capture === "manual" ? "By hand. The event is in the same commit." : "The event is in the same commit.";
    case 5: return "To order-events; no clock is kept here.";
    case 6: return "One journal entry: buyer to sellers, less the fee.";
    case 7: return "The wallet's event said so.";
    case 8: return "Every replica reads every event.";
    default: return at[9] === null ? "Not watched from here; the statement has it." : "Over the WebSocket, without a reload.";
  }
}

function current(order, number) {
  if (number === 4 && order.state === "RESERVED" && order.capture === "manual") return "Waits for the buyer or a seller to confirm.";
  if (number === 3) return "The ledger is being asked.";
  if (number === 5 || number === 6) return "On its way to the ledger.";
  return "Under way.";
}

/**
 * Tells how long a step took after the one before it that has a time.
 * @param {Step[]} steps @param {number} index
 * @returns {number|null} Milliseconds.
 */
export function spanBefore(steps, index) {
  const own = steps[index].atMs;
  const before = steps.slice(0, index).reverse().find((step) => step.atMs !== null)?.atMs ?? null;
  return own === null || before === null ? null : own - before;
}
