/** @file Where the console begins: who is signed in, then the page of the address. */

import { startConnectionBar } from "./connection_bar.js";
import { live } from "./live.js";
import { ProblemError } from "./problems.js";
import { problemNotice } from "./form.js";
import { byId, fill } from "./dom.js";
import { here, showPage } from "./router.js";
import { ROUTES, SIGNED_OUT_ROUTES } from "./routes.js";
import { session } from "./session.js";
import { startShell } from "./shell.js";
import { WELCOME } from "./welcome.js";

/** Where somebody wanted to go before signing in. */
let wanted = "";

function show() {
  return showPage(session.user === null ? SIGNED_OUT_ROUTES : ROUTES);
}

function userChanged() {
  if (session.user === null) {
    live.stop();
    location.hash = "/sign-in";
  } else {
    if (session.has("buyer") || session.has("merchant")) live.start();
    if (WELCOME.test(here())) location.hash = wanted || "/";
    wanted = "";
  }
  show();
}

async function begin() {
  try {
    await session.resume();
  } catch (error) {
    if (!(error instanceof ProblemError && error.status === 401)) {
      fill(byId("main"), problemNotice(error, begin));
      return;
    }
  }
  if (session.user === null && !WELCOME.test(here())) wanted = here();
  show();
}

session.addEventListener("change", userChanged);
addEventListener("hashchange", show);
startShell();
startConnectionBar();
begin();
