/** @file What went wrong, in words that say what to do. `reason` is the API's stable word (RFC 9457, with ours). */

import { formatSpan } from "./times.js";

/** A refusal, a failure, or no answer at all. */
export class ProblemError extends Error {
  /**
   * @param {{status: number, reason: string, detail?: string, details?: Record<string, string>}} problem Status 0: no answer.
   * @param {number} [retryAfterSeconds]
   */
  constructor(problem, retryAfterSeconds = 0) {
    super(problem.detail || problem.reason);
    this.status = problem.status;
    this.reason = problem.reason;
    this.details = problem.details ?? {};
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether it is unknown if the call had an effect: then it is repeated with its key. */
  get isUnclear() {
    return this.status === 0 || this.status >= 500 || this.reason === "request_in_flight";
  }

  /** Whether it answers what was wanted. The door's refusals don't: what was sent before them may have had its effect. */
  get isAnswer() {
    return !this.isUnclear && this.status !== 401 && this.status !== 429;
  }
}

/** No answer came. */
export function noAnswer() {
  return new ProblemError({ status: 0, reason: "no_answer" });
}

const SENTENCES = {
  no_answer: "There is no connection to the platform. Check your network and try again; nothing happens twice.",
  bad_credentials: "The e-mail address or the password is wrong.",
  email_taken: "There is an account with this address. Sign in, or take another one.",
  invalid_email: "That is no e-mail address.",
  invalid_password: "A password has 8 to 256 characters.",
  reset_token_unknown: "This link was used already, or is too old. Ask for another one.",
  sign_in_refused: "That sign-in didn't work over there. Try again.",
  sign_in_not_begun: "This sign-in was begun in another browser, or too long ago. Try again.",
  token_wrong_nonce: "This sign-in was begun in another browser, or too long ago. Try again.",
  issuer_unavailable: "Your identity provider can't be reached right now. Try again in a moment.",
  email_not_verified: "Your identity provider hasn't verified your e-mail address, so you can't sign in with it here.",
  user_not_registered: "There is no account with your e-mail address. Make one first.",
  account_not_linkable: "This account signs in with its password only.",
  session_ended: "Your session has ended. Sign in again.",
  refresh_token_reused: "Your session was used in two places and has been ended. Sign in again.",
  insufficient_funds: "There isn't enough money in the wallet that pays. If it is yours, put some in, then try again.",
  account_not_open: "Your wallet has no money in this currency yet.",
  price_changed: "Prices have changed since you put these into your cart. Look at the total, then place the order again.",
  total_changed: "Prices have changed just now, and nothing was ordered. Look at the total, then place the order again.",
  out_of_stock: "There are fewer pieces left than you want.",
  unknown_sku: "One of these products is no longer for sale.",
  currency_mismatch: "An order is in one currency. Order the others separately.",
  too_many_sellers: "An order can have at most a hundred sellers.",
  illegal_transition: "The order has moved on in the meantime. Look at it again.",
  exceeds_captured: "That is more than was paid and not yet given back.",
  order_not_found: "There is no such order, or it isn't yours.",
  product_not_found: "There is no such product.",
  sku_taken: "There is a product with this code already.",
  invalid_sku: "A code has up to 64 letters, digits and . _ @ : + -",
  invalid_title: "A title has 1 to 200 characters.",
  invalid_stock: "Stock is a whole number from 0.",
  invalid_url: "That is no address that can be told: it begins with https:// and has no user.",
  too_many_endpoints: "There are as many addresses as there may be. Remove one first.",
  endpoint_not_found: "This address isn't told any more.",
  invalid_amount: "That is no amount of this currency.",
  nothing_to_prove: "There is no entry to prove.",
  head_not_signed: "The ledger hasn't signed where it stands yet. Try again in a moment.",
  statement_range_malformed: "The ledger hasn't signed these entries yet. Try again in a moment.",
  unknown_asset: "The ledger doesn't know this currency.",
  user_not_found: "Nobody has this e-mail address.",
  role_required: "Your account isn't allowed to do this.",
  top_up_too_large: "That is more than a demo gives.",
  idempotency_key_reused: "This was sent before with other content. Look at what happened, then try again.",
  request_in_flight: "This is being done right now. Give it a moment.",
  rate_limited: "That was a lot at once. Wait a moment, then try again.",
  ledger_unavailable: "The ledger can't be reached right now. Nothing is lost: try again in a moment.",
  ledger_busy: "The ledger is very busy right now. Try again in a moment.",
  upstream_unavailable: "A part of the platform is restarting. Try again in a moment.",
  upstream_timeout: "The platform took too long to answer. Try again: nothing happens twice.",
  deadline_exceeded: "The platform took too long to answer. Try again: nothing happens twice.",
  internal_error: "Something failed on our side. Try again; nothing happens twice.",
};

/** The field of a form that a reason is about. */
const FIELDS = {
  bad_credentials: "password", email_taken: "email", invalid_email: "email", invalid_password: "password",
  user_not_found: "email", sku_taken: "sku", invalid_sku: "sku", invalid_title: "title", invalid_stock: "stock", invalid_url: "url", too_many_endpoints: "url",
  invalid_amount: "amount", insufficient_funds: "amount", top_up_too_large: "amount", account_not_open: "amount", exceeds_captured: "amount",
};

/** @param {unknown} error */
export function sentenceOf(error) {
  if (!(error instanceof ProblemError)) return "Something failed in this page. Load it again.";
  // After wrong passwords it is minutes, and no moment.
  if (error.reason === "rate_limited" && error.retryAfterSeconds > 1) return `That was a lot at once. Try again in ${formatSpan(error.retryAfterSeconds * 1000)}.`;
  return sentenceFor(error.reason, error.message);
}

/** @param {string} reason @param {string} message Said where the reason is one that nobody thought of here. */
export function sentenceFor(reason, message) {
  return isKnown(reason) ? SENTENCES[reason] : message;
}

/** Whether somebody thought of a reason here. @param {string} reason */
export const isKnown = (reason) => Object.hasOwn(SENTENCES, reason);

/** @param {unknown} error @returns {string|null} */
export function fieldOf(error) {
  if (!(error instanceof ProblemError)) return null;
  return FIELDS[error.reason] ?? error.details.field?.split(".")[0] ?? null;
}
