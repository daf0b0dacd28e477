/** @file A period of whole days, as people choose it: both ends belong to it, in the time of where they are. */

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** @typedef {{from: string, until: string}} Period Days such as 2026-01-31; empty where nothing bounds it. */

/** @param {URLSearchParams} query Of a page's address; what is no day is left out. @returns {Period} */
export function periodOf(query) {
  const day = (name) => { const text = query.get(name) ?? ""; return startOf(text) === null ? "" : text; };
  return { from: day("from"), until: day("until") };
}

/** The instants that the API bounds a list by: at the first one or later, before the other. @param {Period} period */
export function instantsOf({ from, until }) {
  return { recorded_from: startOf(from)?.toISOString(), recorded_until: startOf(until, 1)?.toISOString() };
}

/** @param {Period} period As parts of an address, without those that are empty. */
export const periodQuery = (period) => Object.entries(period).filter(([, day]) => day !== "");

/** When a day begins here, or one so many days later. @param {string} day @returns {Date|null} */
function startOf(day, daysLater = 0) {
  if (!DAY.test(day)) return null;
  const start = new Date(`${day}T00:00`);
  if (Number.isNaN(start.getTime())) return null;
  start.setDate(start.getDate() + daysLater);
  return start;
}
