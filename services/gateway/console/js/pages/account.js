/** @file Who is signed in, and the way out of every session at once. */

import { confirmed } from "../confirm.js";
import { fill, h } from "../dom.js";
import { problemNotice } from "../form.js";
import { pageHead } from "../parts.js";
import { session } from "../session.js";

export function accountPage() {
  const trouble = h("div");
  const signOutEverywhere = async () => {
    const agreed = await confirmed({
      title: "Sign out everywhere?",
      text: ["All sessions of this account end within seconds, on every machine, this one included."],
      yes: "Sign out everywhere",
      grave: true,
    });
    if (!agreed) return;
    try {
      await session.signOutEverywhere();
    } catch (error) {
      fill(trouble, problemNotice(error, signOutEverywhere));
    }
  };
  return h("div", {}, pageHead("Account", session.user?.email),
    h("section", { class: "card stack" },
      h("h2", {}, "Still signed in somewhere else?"),
      h("p", {}, "On a lost phone or a machine that others use: end every session, and sign in again here."),
      trouble,
      h("div", { class: "row" },
        h("button", { type: "button", class: "button grave", on: { click: signOutEverywhere } }, "Sign out everywhere"))));
}
