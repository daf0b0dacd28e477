/** @file Signing in, and making an account. */

import { h } from "../dom.js";
import { field, form } from "../form.js";
import { session } from "../session.js";
import { PASSWORD_CHARACTERS_MIN, checkEmail, checkPassword, welcome } from "../welcome.js";

export const signInPage = () => welcome("/sign-in", [form({
  label: "Sign in",
  submit: "Sign in",
  children: [
    field({ name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true }),
    field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true }),
  ],
  act: async ({ email, password }) => {
    checkEmail(email);
    checkPassword(password, 1);
    await session.signIn(email, password);
  },
}), h("a", { href: "#/forgotten" }, "Forgot your password?")]);

export const registerPage = () => welcome("/register", form({
  label: "Register",
  submit: "Make an account",
  children: [
    field({ name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true }),
    field({ name: "password", label: "Password", type: "password", autocomplete: "new-password", hint: `At least ${PASSWORD_CHARACTERS_MIN} characters.`, required: true }),
    h("fieldset", { class: "stack-small" }, h("legend", { class: "field-label" }, "What brings you here?"),
      h("div", { class: "choices" },
        role("buyer", "I buy", "Order and pay from a wallet.", true),
        role("merchant", "I sell", "Offer products and get paid.", false))),
  ],
  act: async ({ email, password, role: wanted }) => {
    checkEmail(email);
    checkPassword(password);
    await session.register(email, password, wanted);
  },
}));

function role(value, label, text, checked) {
  return h("label", { class: "choice" }, h("input", { type: "radio", name: "role", value, checked }),
    h("span", {}, h("strong", {}, label), h("span", { class: "small quiet" }, text)));
}
