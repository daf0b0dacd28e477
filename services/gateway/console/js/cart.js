/** @file What somebody means to order. It stays in this browser, for each user apart. */

import { session } from "./session.js";

/** @typedef {{sku: string, title: string, price: import("./money.js").Money, seller_id: string, quantity: number}} CartLine */

class Cart extends EventTarget {
  constructor() {
    super();
    addEventListener("storage", ({ key }) => { if (key === this.#place) this.#tell(); }); // another tab's change
  }

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

  /** Writes what products cost now, and what they are called. @param {any[]} products */
  reprice(products) {
    const bySku = new Map(products.map(({ sku, title, price }) => [sku, { title, price }]));
    this.#keep(this.lines.map((line) => ({ ...line, ...bySku.get(line.sku) })));
  }

  /** Takes out what is ordered. @param {CartLine[]} ordered */
  remove(ordered) {
    const pieces = new Map(ordered.map(({ sku, quantity }) => [sku, quantity]));
    const left = this.lines.map((line) => ({ ...line, quantity: line.quantity - (pieces.get(line.sku) ?? 0) }));
    this.#keep(left.filter((line) => line.quantity > 0));
  }

  get #place() {
    return `tradeflow-cart:${session.user?.user_id ?? ""}`;
  }

  #keep(lines) {
    localStorage.setItem(this.#place, JSON.stringify(lines));
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

export const cart = new Cart();
