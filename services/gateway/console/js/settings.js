/** @file What the gateway told this page of itself. */

const told = document.querySelector('meta[name="tradeflow-settings"]')?.getAttribute("content");

/** @type {{top_up_minor_max: number, trace_url: string, exponents: Record<string, number>, issuers: {name: string, title: string}[]}} */
export const settings = JSON.parse(told ?? '{"top_up_minor_max": 0, "trace_url": "", "exponents": {}, "issuers": []}');

/**
 * Where a trace can be looked at; null where nowhere.
 * @param {string|null} traceId
 */
export function traceAddress(traceId) {
  return settings.trace_url && traceId ? settings.trace_url.replace("{trace_id}", traceId) : null;
}
