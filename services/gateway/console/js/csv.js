/** @file Tables as text that spreadsheets read (RFC 4180). */

/** @param {(string|number|null)[][]} rows The first one names the columns. */
export const csv = (rows) => rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");

function cell(value) {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
