/** @file The first page: where each role begins. */

import { h } from "../dom.js";
import { go } from "../router.js";
import { places } from "../shell.js";

export function homePage() {
  go(places()[0]?.path ?? "/wallet");
  return h("div");
}
