/** @file What stands around the forms of who isn't signed in, and what addresses and passwords look like. */

import { h } from "./dom.js";
import { FieldError } from "./form.js";
import { icon } from "./icons.js";

export const PASSWORD_CHARACTERS_MIN = 8;

/** Pages that somebody who isn't signed in is sent to, or comes to from a mail. */
export const WELCOME = /^\/(sign-in|register|forgotten|new-password\/.*)?$/;

/** @param {string} email */
export function checkEmail(email) {
  if (!/^\S+@\S+$/.test(email)) throw new FieldError("email", "Enter an e-mail address, such as name@shop.example.");
}

/** @param {string} password @param {number} [charactersMin] */
export function checkPassword(password, charactersMin = PASSWORD_CHARACTERS_MIN) {
  if (password.length >= charactersMin) return;
  throw new FieldError("password", charactersMin === 1 ? "Enter your password." : `Use at least ${charactersMin} characters.`);
}

/** @param {string} current Which of the forms it is, by its path. @param {...import("./dom.js").Child[]|import("./dom.js").Child} content */
export function welcome(current, content) {
  const tab = (path, label) => h("a", { href: `#${path}`, "aria-current": path === current ? "page" : null }, label);
  return h("div", { class: "welcome" },
    h("div", { class: "welcome-words" },
      h("h1", { tabindex: "-1" }, "Every cent has a journal entry."),
      h("p", {}, "Orders paid from wallets on a double-entry ledger, live.")),
    h("div", { class: "card stack" },
      h("nav", { class: "segments", "aria-label": "Account" }, tab("/sign-in", "Sign in"), tab("/register", "Register")),
      content),
    h("ul", { class: "welcome-promises" },
      promise("Pressed twice, sent twice, restarted in the middle: it happens once."),
      promise("Your balance moves on this page the moment the ledger commits."),
      promise("Each order shows its way through the platform, step by step.")));
}

const promise = (text) => h("li", {}, icon("check"), text);
