/** @file What operators saw in the last minutes. It lives while the page does, also when another page is shown. */

import { quantile, rate, since } from "./series.js";
import { session } from "./session.js";

export const WINDOW_MS = 5 * 60_000;

/** @typedef {{atMs: number, body: any}} Look */

/** @type {Look[]} */
let log = [];

session.addEventListener("change", () => { log = []; });

/** @param {any} body What the API told. */
export function note(body) {
  const atMs = Date.parse(body.observed_at);
  if (log.at(-1)?.atMs === atMs) return;
  log = [...log.filter((look) => look.atMs > atMs - WINDOW_MS), { atMs, body }];
}

export const looks = () => log;

const VALUES = {
  requests: (before, after, seconds) => rate(before.requests.count, after.requests.count, seconds),
  orders: (before, after, seconds) => rate(before.order_states.PENDING ?? 0, after.order_states.PENDING ?? 0, seconds),
  events: (before, after, seconds) => rate(before.wallet_events, after.wallet_events, seconds),
  p50: (before, after) => quantile(since(before.requests, after.requests), 0.5),
  p99: (before, after) => quantile(since(before.requests, after.requests), 0.99),
  placing50: (before, after) => quantile(since(before.placing, after.placing), 0.5),
  placing99: (before, after) => quantile(since(before.placing, after.placing), 0.99),
  outbox: (_, after) => after.outboxes.reduce((sum, one) => sum + one.waiting_events, 0),
};

/**
 * Tells one number over time.
 * @param {keyof typeof VALUES} name
 */
export function points(name) {
  return log.slice(1).map((look, index) => {
    const before = log[index];
    const seconds = (look.atMs - before.atMs) / 1000;
    return { atMs: look.atMs, value: VALUES[name](before.body.figures, look.body.figures, seconds) };
  });
}
