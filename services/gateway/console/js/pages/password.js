/** @file A new password for who forgot the old one: asking for a link, and what the link leads to. */

import { announce } from "../announce.js";
import { fill, h } from "../dom.js";
import { field, form } from "../form.js";
import { go } from "../router.js";
import { session } from "../session.js";
import { PASSWORD_CHARACTERS_MIN, checkEmail, checkPassword, welcome } from "../welcome.js";

export function forgottenPage() {
  const place = h("div", { role: "status" });
  const ask = form({
    label: "Forgotten password",
    submit: "Send me a link",
    children: [field({ name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true })],
    act: async ({ email }) => {
      checkEmail(email);
      const seconds = await session.forgotPassword(email);
      ask.remove();
      fill(place, h("p", {}, h("strong", {}, "Look into your mail. "),
        `If ${email} has an account, a link to a new password is on its way. It works once, for ${Math.round(seconds / 60)} minutes.`));
    },
  });
  return welcome("/forgotten", [h("h2", {}, "Forgot your password?"), ask, place]);
}

/** @param {import("../router.js").Visit} visit The token stands behind the `#`, which no server is sent. */
export const newPasswordPage = ({ params: [token] }) => welcome("/new-password", [
  h("h2", {}, "Choose a new password"),
  form({
    label: "New password",
    submit: "Set the password",
    children: [field({
      name: "password", label: "New password", type: "password", autocomplete: "new-password", required: true,
      hint: `At least ${PASSWORD_CHARACTERS_MIN} characters. Everybody who is signed in to the account is signed out, and its webhooks end.`,
    })],
    act: async ({ password }) => {
      checkPassword(password);
      await session.setPassword(token, password);
      announce("The password is set. Sign in with it.");
      go("/sign-in");
    },
  }),
]);
