/** @file The user's balances, kept fresh by live events, and what happened lately. */

import { read } from "./api.js";
import { pause, pauseMs } from "./backoff.js";
import { live } from "./live.js";
import { session } from "./session.js";

const RECENT_MAX = 30;
const SEEN_MAX = 500;

/** @typedef {import("./money.js").Money} Money */
/** @typedef {{currency: string, posted: Money, pending_outgoing: Money, available: Money, overdraft_limit: Money}} Balance */

/** Fires `change` with {moved}: the currency whose balance moved live, or null. */
class Wallet extends EventTarget {
  /** @type {Map<string, Balance>} */
  balances = new Map();
  known = false;
  /** @type {{event: import("./live.js").WalletEvent, missed: boolean, seenAtMs: number}[]} The newest first. */
  recent = [];
  #seen = /** @type {Map<string, number>} */ (new Map());
  #reading = 0;
  /** What events told since the reading began: it may have been answered before they happened. */
  #news = /** @type {Map<string, Balance>} */ (new Map());

  constructor() {
    super();
    live.addEventListener("reload", () => this.#readPatiently());
    live.addEventListener("gap", () => { this.recent = []; });
    live.addEventListener("state", () => { if (live.state === "lost") this.#readPatiently(); }); // a network may let no WebSocket through
    live.addEventListener("event", (happened) => this.#take(/** @type {CustomEvent} */ (happened).detail));
    session.addEventListener("change", () => this.#forget());
  }

  /** The balance to show where there is room for one. @returns {Balance|undefined} */
  get main() {
    return this.balances.get("EUR") ?? this.balances.values().next().value;
  }

  /** Reads all balances, for as long as it takes, unless they are to be read anew meanwhile, or are somebody else's. */
  async #readPatiently() {
    const reading = ++this.#reading;
    this.#news.clear();
    for (let attempt = 1; reading === this.#reading; attempt++) {
      try {
        const { items } = await read("/api/v1/wallet/accounts", { limit: 100 });
        if (reading === this.#reading) this.#know(items);
        return;
      } catch {
        await pause(pauseMs(attempt));
      }
    }
  }

  /** @param {Balance[]} read */
  #know(read) {
    this.balances = new Map([...read.map((balance) => /** @type {[string, Balance]} */ ([balance.currency, balance])), ...this.#news]);
    this.known = true;
    this.#tell(null);
  }

  /** When this tab saw what the ledger did to an order. @param {string} orderId @param {string} kind */
  seenAtMs(orderId, kind) {
    return this.#seen.get(`${orderId} ${kind}`) ?? null;
  }

  #take(happened) {
    const { event } = happened;
    this.recent = [happened, ...this.recent].slice(0, RECENT_MAX);
    if (event.fact?.order_id && this.#seen.size < SEEN_MAX && !happened.missed) {
      this.#seen.set(`${event.fact.order_id} ${event.kind}`, happened.seenAtMs);
    }
    if (event.balance) {
      this.balances.set(event.balance.currency, event.balance);
      this.#news.set(event.balance.currency, event.balance);
    }
    this.#tell(event.balance?.currency ?? null);
  }

  #forget() {
    this.#reading += 1;
    this.balances = new Map();
    this.known = false;
    this.recent = [];
    this.#seen.clear();
    this.#tell(null);
  }

  #tell(moved) {
    this.dispatchEvent(new CustomEvent("change", { detail: { moved } }));
  }
}

export const wallet = new Wallet();
