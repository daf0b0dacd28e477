/** @file Hands a file to whoever looks at the page, to keep. */

import { h } from "./dom.js";

const KEPT_MS = 60_000;

/** @param {string} name @param {string} text @param {string} type Such as text/csv. */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
