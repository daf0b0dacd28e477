/**
 * @file The wallet's events as they happen, over a WebSocket that heals by itself. The wallet's own sequence is the
 * bookmark: after a loss the server sends what came after it, or says that everything must be read again.
 */

import { write } from "./api.js";
import { pauseMs } from "./backoff.js";
import { session } from "./session.js";

/** The server speaks every 25 s; twice that and more is silence. */
const SILENCE_MS = 60_000;
const CLOSED_UNAUTHORIZED = 3000;

/** @typedef {"off"|"connecting"|"live"|"lost"} LiveState */
/** @typedef {{sequence: number, kind: string, recorded_at: string, journal_sequence: number, balance: any, fact: any}} WalletEvent */

/**
 * Fires `state`; `event` with {event, missed, seenAtMs}; `reload` when balances must be read; `gap` when what happened in
 * between is never told, or what was told no longer holds; `caught-up` with {missed} after a loss.
 */
class Live extends EventTarget {
  /** @type {LiveState} */
  state = "off";
  lastSequence = /** @type {number|null} */ (null);
  retryAtMs = 0;
  #socket = /** @type {WebSocket|null} */ (null);
  #attempt = 0;
  #timer = 0;
  #silence = 0;
  #missedUntil = 0;
  #missed = /** @type {WalletEvent[]} */ ([]);
  #run = 0;

  constructor() {
    super();
    addEventListener("online", () => this.retryNow());
    addEventListener("offline", () => this.#socket?.close());
  }

  /** Begins for another user. */
  start() {
    this.stop();
    this.#connect();
  }

  stop() {
    this.#run += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#socket?.close();
    this.#socket = null;
    this.lastSequence = null;
    this.#attempt = 0;
    this.#become("off");
  }

  /** Tries again at once instead of later. */
  retryNow() {
    if (this.state === "lost") this.#connect();
  }

  async #connect() {
    const run = ++this.#run; // an attempt that is still under way counts no more
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
    if (this.state !== "lost") this.#become("connecting");
    try {
      const { ticket } = await write("POST", "/auth/ticket");
      if (run === this.#run) this.#open(ticket, run);
    } catch {
      if (run === this.#run) this.#retryLater();
    }
  }

  #open(ticket, run) {
    const address = new URL("/ws/notifications", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.searchParams.set("ticket", ticket);
    if (this.lastSequence !== null) address.searchParams.set("last_sequence", String(this.lastSequence));
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#expectWords();
    socket.onmessage = ({ data }) => { if (run === this.#run) this.#hear(JSON.parse(data)); };
    socket.onclose = ({ code }) => { if (run === this.#run && socket === this.#socket) this.#closed(code); };
  }

  #hear(message) {
    this.#expectWords();
    switch (message.type) {
      case "hello": return this.#greet(message.last_sequence);
      case "event": return this.#take(message.event);
      case "reload_required": return this.#skip(message.last_sequence);
      case "draining": return this.#socket?.close();
      default: return undefined;
    }
  }

  #greet(newest) {
    const resumed = this.lastSequence !== null;
    this.#attempt = 0;
    this.#missed = [];
    this.#missedUntil = resumed ? newest : 0;
    this.#become("live");
    if (!resumed) this.#reload(newest);
  }

  #take(event) {
    const missed = event.sequence <= this.#missedUntil;
    this.lastSequence = event.sequence;
    this.dispatchEvent(new CustomEvent("event", { detail: { event, missed, seenAtMs: Date.now() } }));
    if (!missed) return;
    this.#missed.push(event);
    if (event.sequence === this.#missedUntil) {
      this.dispatchEvent(new CustomEvent("caught-up", { detail: { missed: this.#missed } }));
    }
  }

  #skip(lastSequence) {
    this.dispatchEvent(new Event("gap"));
    this.#reload(lastSequence);
  }

  #reload(lastSequence) {
    this.lastSequence = lastSequence;
    this.dispatchEvent(new Event("reload"));
  }

  async #closed(code) {
    const run = this.#run;
    this.#socket = null;
    if (code === CLOSED_UNAUTHORIZED) await session.replaceToken().catch(() => {});
    if (run === this.#run && session.user !== null) this.#retryLater();
  }

  #retryLater() {
    this.#attempt += 1;
    const ms = pauseMs(this.#attempt);
    this.retryAtMs = Date.now() + ms;
    clearTimeout(this.#silence);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
    this.#become("lost");
  }

  #expectWords() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket?.close(), SILENCE_MS);
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

export const live = new Live();
