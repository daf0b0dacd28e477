/**
 * @file Money is a whole number of minor units. It is added as such, and written by placing a point between digits:
 * no amount ever is a floating-point number of euros.
 */

import { settings } from "./settings.js";

/** @typedef {{amount_minor: number, currency: string}} Money */

/**
 * Tells how many digits of a currency stand behind the point: as the ledger has it. Browsers leave the forints' and some
 * others' away, since no coins are made of them. What nobody here knows is written in whole minor units.
 * @param {string} currency
 */
export function fractionDigits(currency) {
  return settings.exponents[currency] ?? 0;
}

/**
 * Writes an amount as the reader's language does.
 * @param {Money} money
 * @param {{sign?: boolean}} [options] `sign`: write a plus too.
 */
export function formatMoney({ amount_minor: minor, currency }, { sign = false } = {}) {
  const { format, isNamed } = formatOf(currency, sign);
  const text = format.format(/** @type {any} */ (decimal(minor, fractionDigits(currency))));
  return isNamed ? text : `${text} ${currency}`;
}

/**
 * Writes an amount as digits with a point: 1050 with two digits is "10.50".
 * @param {number} minor
 * @param {number} digits
 */
export function decimal(minor, digits) {
  const negative = minor < 0;
  const text = String(BigInt(negative ? -minor : minor)).padStart(digits + 1, "0");
  const whole = text.slice(0, text.length - digits);
  const rest = text.slice(text.length - digits);
  return `${negative ? "-" : ""}${whole}${digits ? `.${rest}` : ""}`;
}

/** A comma may set thousands apart as well: where a currency has three digits behind the point, nobody knows. */
const IS_UNCLEAR = /^\d{1,3},\d{3}$/;

/**
 * Reads what somebody typed: digits, at most one point or comma, no more digits behind it than the currency has.
 * @param {string} text
 * @param {string} currency
 * @returns {Money|null} null when it isn't such an amount, or not above zero.
 */
export function parseMoney(text, currency) {
  const digits = fractionDigits(currency);
  const typed = text.replace(/[\s'’]/g, "");
  const found = /^(\d{1,13})(?:[.,](\d+))?$/.exec(typed);
  if (found === null || (found[2] ?? "").length > digits || IS_UNCLEAR.test(typed)) return null;
  const minor = BigInt(found[1] + (found[2] ?? "").padEnd(digits, "0"));
  return minor > 0n && minor <= BigInt(Number.MAX_SAFE_INTEGER) ? { amount_minor: Number(minor), currency } : null;
}

/** @param {Money} unit @param {number} quantity @returns {Money} */
export function times(unit, quantity) {
  return { amount_minor: unit.amount_minor * quantity, currency: unit.currency };
}

/** @param {Money[]} amounts Of one currency, at least one. @returns {Money} */
export function sum(amounts) {
  const amount_minor = amounts.reduce((total, money) => total + money.amount_minor, 0);
  return { amount_minor, currency: amounts[0].currency };
}

const formats = new Map();

function formatOf(currency, sign = false) {
  const key = `${currency} ${sign}`;
  if (!formats.has(key)) formats.set(key, makeFormat(currency, sign));
  return formats.get(key);
}

/** The code of a custom asset may be none that a browser could write; then it stands behind the number. */
function makeFormat(currency, sign) {
  const digits = fractionDigits(currency);
  const isNamed = /^[A-Z]{3}$/.test(currency);
  const style = isNamed ? { style: "currency", currency } : {};
  const signDisplay = sign ? "exceptZero" : "auto";
  const options = { ...style, signDisplay, minimumFractionDigits: digits, maximumFractionDigits: digits };
  return { format: new Intl.NumberFormat(undefined, /** @type {any} */ (options)), isNamed };
}
