/** @file The address leads nowhere. */

import { h } from "../dom.js";
import { empty, linkButton, pageHead } from "../parts.js";

export function lostPage() {
  return h("div", {}, pageHead("There is nothing here"),
    empty("This address leads nowhere", "It may be mistyped, or of an older version of this page.", linkButton("#/", "To the beginning")));
}
