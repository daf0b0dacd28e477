/**
 * @file Who is signed in. The access token lives in this module's memory and nowhere else; the refresh token lives in a
 * cookie that no script can read. Tabs renew one after the other, so that none uses a token that another just replaced.
 */

import { forgetIntents } from "./intents.js";
import { ProblemError, noAnswer } from "./problems.js";

const PATH = "/console/session";
const RENEW_BEFORE_MS = 30_000;
const LOCK = "tradeflow-session";

/** @typedef {{user_id: string, email: string, roles: string[]}} User */

class Session extends EventTarget {
  /** @type {User|null} */
  user = null;
  #accessToken = "";
  #goodUntilMs = 0;
  #renewing = /** @type {Promise<void>|null} */ (null);
  #tabs = new BroadcastChannel(LOCK);
  #hasBegun = false;

  constructor() {
    super();
    this.#tabs.onmessage = ({ data: userId }) => this.#hear(userId);
  }

  /** @param {string} role */
  has(role) {
    return this.user?.roles.includes(role) ?? false;
  }

  /** Goes on with the session of the cookie, if there is one. */
  async resume() {
    await this.#renew().finally(() => { this.#hasBegun = true; });
    this.#tell(); // another issuer's page, say, led here, and the other tabs still show who was here before
  }

  /** @param {string} email @param {string} password */
  async signIn(email, password) {
    const answer = await ask("POST", PATH, { email, password });
    this.#begin(await answer.json());
    this.#tell();
  }

  /** @param {string} email @param {string} password @param {string} role */
  async register(email, password, role) {
    await ask("POST", "/auth/register", { email, password, role });
    await this.signIn(email, password);
  }

  /** Has a link sent by mail, if the address has a user. @param {string} email @returns {Promise<number>} For how many seconds it works. */
  async forgotPassword(email) {
    return (await (await ask("POST", "/auth/password-reset", { email })).json()).expires_in;
  }

  /** Sets a new password, and ends all sessions of whose token it is. @param {string} token @param {string} password */
  async setPassword(token, password) {
    await ask("POST", "/auth/password-reset/confirm", { token, password });
    if (this.user !== null) await this.#renew().catch(() => undefined);
  }

  /** Ends the session. Without an answer it goes on: the cookie is still there, and nobody may think otherwise. */
  async signOut() {
    await ask("DELETE", PATH, undefined, { Authorization: `Bearer ${await this.accessToken()}` });
    this.#leave();
  }

  /** Ends all sessions of the user, on every machine; the cookie opens nothing then, even where it can't be deleted. */
  async signOutEverywhere() {
    await ask("POST", "/auth/logout-everywhere", undefined, { Authorization: `Bearer ${await this.accessToken()}` });
    await ask("DELETE", PATH).catch(() => undefined);
    this.#leave();
  }

  /** Returns a token that is good for another while. */
  async accessToken() {
    if (Date.now() > this.#goodUntilMs - RENEW_BEFORE_MS) await this.#renew();
    return this.#accessToken;
  }

  /** Gets a new token: the one there is was refused. */
  async replaceToken() {
    this.#goodUntilMs = 0;
    await this.accessToken();
  }

  #renew() {
    this.#renewing ??= alone(() => this.#renewOnce()).finally(() => { this.#renewing = null; });
    return this.#renewing;
  }

  async #renewOnce() {
    try {
      const answer = await ask("POST", `${PATH}/renewal`);
      if (answer.status === 204) this.#end();
      else this.#begin(await answer.json());
    } catch (error) {
      if (error instanceof ProblemError && error.status === 401) this.#end();
      throw error;
    }
  }

  #begin({ access_token: token, expires_in: seconds, user }) {
    const before = this.user?.user_id;
    this.#accessToken = token;
    this.#goodUntilMs = Date.now() + seconds * 1000;
    this.user = user;
    if (before !== user.user_id) this.dispatchEvent(new Event("change"));
  }

  /** Whoever signs out leaves nothing behind; who is put out goes on where they were. */
  #leave() {
    forgetIntents();
    this.#end();
    this.#tell();
  }

  /** Tells the other tabs who is signed in: all have one cookie. */
  #tell() {
    this.#tabs.postMessage(this.user?.user_id ?? "");
  }

  /** Begins anew where the page is another user's. */
  #hear(userId) {
    if (!this.#hasBegun || userId === (this.user?.user_id ?? "")) return;
    if (userId === "") forgetIntents();
    location.reload();
  }

  #end() {
    const wasSignedIn = this.user !== null;
    this.#accessToken = "";
    this.#goodUntilMs = 0;
    this.user = null;
    if (wasSignedIn) this.dispatchEvent(new Event("change"));
  }
}

/** Runs while no other tab does the same. @param {() => Promise<void>} act @returns {Promise<void>} */
function alone(act) {
  return navigator.locks ? /** @type {any} */ (navigator.locks.request(LOCK, act)) : act();
}

async function ask(method, path, body, headers = {}) {
  const init = { method, credentials: /** @type {const} */ ("same-origin"), headers };
  if (body !== undefined) {
    init.headers = { ...headers, "Content-Type": "application/json" };
    /** @type {RequestInit} */ (init).body = JSON.stringify(body);
  }
  const answer = await fetch(path, init).catch(() => { throw noAnswer(); });
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** @param {Response} answer */
export async function problemOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const told = { reason: "internal_error", ...problem, status: answer.status };
  return new ProblemError(told, Number(answer.headers.get("Retry-After") ?? 0));
}

export const session = new Session();
