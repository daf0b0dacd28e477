/** @file Instants and spans as people read them. The API's instants have microseconds; a Date has milliseconds. */

const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exactTime = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});
const exactDay = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** @param {string|number|Date} instant */
export const formatInstant = (instant) => dayAndTime.format(new Date(instant));

/** @param {string|number|Date} instant */
export const formatExactTime = (instant) => exactTime.format(new Date(instant));

/** @param {string|number|Date} instant */
export const formatDay = (instant) => exactDay.format(new Date(instant));

/**
 * Reads an instant as milliseconds since 1970, with the microseconds behind the point.
 * @param {string} instant
 */
export function milliseconds(instant) {
  const micros = /\.\d{3}(\d{3})/.exec(instant);
  return Date.parse(instant) + (micros ? Number(micros[1]) / 1000 : 0);
}

/** @param {number} ms */
export function formatSpan(ms) {
  if (Math.abs(ms) < 10) return `${ms.toFixed(1)} ms`;
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
