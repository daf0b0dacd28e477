/** @file What somebody means to order. It stays in this browser, for each user apart. */

import { session } from "./session.js";

/** @typedef {{sku: string, title: string, price: import("./money.js").Money, seller_id: string, quantity: number}} CartLine */

class Cart extends EventTarget {
  /** @returns {CartLine[]} */
  get lines() {
    return JSON.parse(localStorage.getItem(this.#place) ?? "[]");
  }

  get pieces() {
    return this.lines.reduce((total, line) => total + line.quantity, 0);
  }

  /** @param {any} product @param {number} quantity */
  add(product, quantity) {
    const { sku, title, price, seller_id } = product;
    const before = this.lines.find((line) => line.sku === sku)?.quantity ?? 0;
    const line = { sku, title, price, seller_id, quantity: before + quantity };
    this.#keep([...this.lines.filter((other) => other.sku !== sku), line]);
  }

  /** @param {string} sku @param {number} quantity 0 takes it out. */
  change(sku, quantity) {
    const lines = this.lines.map((line) => (line.sku === sku ? { ...line, quantity } : line));
    this.#keep(lines.filter((line) => line.quantity > 0));
  }

  /** Takes one currency's lines out: they are ordered. @param {string} currency */
  clear(currency) {
    this.#keep(this.lines.filter((line) => line.price.currency !== currency));
  }

  get #place() {
    return `tradeflow-cart:${session.user?.user_id ?? ""}`;
  }

  #keep(lines) {
    localStorage.setItem(this.#place, JSON.stringify(lines));
    this.dispatchEvent(new Event("change"));
  }
}

export const cart = new Cart();
