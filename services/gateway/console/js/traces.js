/** @file Which trace an order of this browser belongs to, and when it was sent. */

const PLACE = "tradeflow-traces";
const KEPT_MAX = 100;

/** @typedef {{orderId: string, traceId: string, sentAtMs: number}} Trace */

/** @returns {Trace[]} */
const kept = () => JSON.parse(localStorage.getItem(PLACE) ?? "[]");

/** @param {Trace} trace */
export function keepTrace(trace) {
  localStorage.setItem(PLACE, JSON.stringify([trace, ...kept()].slice(0, KEPT_MAX)));
}

/** @param {string} orderId @returns {Trace|null} */
export function traceOf(orderId) {
  return kept().find((trace) => trace.orderId === orderId) ?? null;
}
