/** @file Signing in, and making an account. */

import { h } from "../dom.js";
import { field, form, problemNotice } from "../form.js";
import { ProblemError, isKnown } from "../problems.js";
import { session } from "../session.js";
import { settings } from "../settings.js";
import { PASSWORD_CHARACTERS_MIN, checkEmail, checkPassword, welcome } from "../welcome.js";

/** @param {import("../router.js").Visit} visit */
export const signInPage = ({ query }) => welcome("/sign-in", [
  query.has("problem") && refusal(query.get("problem")),
  ...settings.issuers.map(elsewhere),
  passwordForm(),
  h("a", { href: "#/forgotten" }, "Forgot your password?"),
]);

/** What came of a sign-in at another issuer, if not a session. Whoever makes a link here puts no words of their own in. */
function refusal(told) {
  const reason = isKnown(told) ? told : "sign_in_refused";
  return h("div", { role: "alert" }, problemNotice(new ProblemError({ status: 401, reason })));
}

/** Leaves this page: the gateway leads to the issuer's, and back. */
const elsewhere = ({ name, title }) => h("a", { class: "button plain", href: `/console/sign-in/${name}` }, `Sign in with ${title}`);

const passwordForm = () => form({
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
});

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
