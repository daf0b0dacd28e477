/**
 * @file Money is a whole number of minor units. It is added as such, and written by placing a point between digits:
 * no amount ever is a floating-point number of euros.
 */

/** @typedef {{amount_minor: number, currency: string}} Money */

/**
 * Tells how many digits of a currency stand behind the point.
 * @param {string} currency
 */
export function fractionDigits(currency) {
  const format = formatOf(currency);
  return format === null ? 0 : format.resolvedOptions().maximumFractionDigits;
}

/**
 * Writes an amount as the reader's language does.
 * @param {Money} money
 * @param {{sign?: boolean}} [options] `sign`: write a plus too.
 */
export function formatMoney({ amount_minor: minor, currency }, { sign = false } = {}) {
  const format = formatOf(currency, sign);
  if (format === null) return `${sign && minor > 0 ? "+" : ""}${minor} ${currency}`;
  return format.format(/** @type {any} */ (decimal(minor, fractionDigits(currency))));
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

/**
 * Reads what somebody typed: digits, at most one point or comma, no more digits behind it than the currency has.
 * @param {string} text
 * @param {string} currency
 * @returns {Money|null} null when it isn't such an amount, or not above zero.
 */
export function parseMoney(text, currency) {
  const digits = fractionDigits(currency);
  const found = /^(\d{1,13})(?:[.,](\d+))?$/.exec(text.replace(/[\s'’]/g, ""));
  if (found === null || (found[2] ?? "").length > digits) return null;
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

/** A custom asset, whose code is no currency's, has no format of its own. */
function makeFormat(currency, sign) {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency, signDisplay: sign ? "exceptZero" : "auto" });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
