/** @file Signing in, and making an account. */

import { h } from "../dom.js";
import { FieldError, field, form } from "../form.js";
import { icon } from "../icons.js";
import { session } from "../session.js";

const PASSWORD_CHARACTERS_MIN = 8;

export const signInPage = () => welcome("/sign-in", form({
  label: "Sign in",
  submit: "Sign in",
  children: [
    field({ name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true }),
    field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true }),
  ],
  act: async ({ email, password }) => {
    check(email, password, 1);
    await session.signIn(email, password);
  },
}));

export const registerPage = () => welcome("/register", form({
  label: "Register",
  submit: "Make an account",
  children: [
    field({ name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true }),
    field({ name: "password", label: "Password", type: "password", autocomplete: "new-password", hint: "At least 8 characters.", required: true }),
    h("fieldset", { class: "stack-small" }, h("legend", { class: "field-label" }, "What brings you here?"),
      h("div", { class: "choices" },
        role("buyer", "I buy", "Order and pay from a wallet.", true),
        role("merchant", "I sell", "Offer products and get paid.", false))),
  ],
  act: async ({ email, password, role: wanted }) => {
    check(email, password, PASSWORD_CHARACTERS_MIN);
    await session.register(email, password, wanted);
  },
}));

function role(value, label, text, checked) {
  return h("label", { class: "choice" }, h("input", { type: "radio", name: "role", value, checked }),
    h("span", {}, h("strong", {}, label), h("span", { class: "small quiet" }, text)));
}

function check(email, password, charactersMin) {
  if (!/^\S+@\S+$/.test(email)) throw new FieldError("email", "Enter an e-mail address, such as name@shop.example.");
  if (password.length < charactersMin) {
    throw new FieldError("password", charactersMin === 1 ? "Enter your password." : `Use at least ${charactersMin} characters.`);
  }
}

function welcome(current, content) {
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
