/** @file Small pieces that several pages are made of. */

import { h, fill } from "./dom.js";
import { formatMoney } from "./money.js";
import { actionButton, problemNotice } from "./form.js";
import { ORDER_STATES } from "./words.js";

/** @param {string} title @param {string|Node} [lead] @param {...(Node|undefined)} end */
export function pageHead(title, lead, ...end) {
  return h("div", { class: "page-head" }, h("div", {}, h("h1", { tabindex: "-1" }, title), lead && h("p", {}, lead)), ...end);
}

/** @param {import("./money.js").Money} amount @param {string} [kind] */
export function money(amount, kind = "") {
  return h("span", { class: `money ${kind}` }, formatMoney(amount));
}

/** @param {string} state */
export function stateBadge(state) {
  const { label, mood } = ORDER_STATES[state] ?? { label: state, mood: "" };
  return h("span", { class: `badge ${mood}` }, label);
}

/** @param {string} text @param {string} mood */
export const badge = (text, mood = "") => h("span", { class: `badge ${mood}` }, text);

/** @param {string} title @param {string} text @param {...Node} actions */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), ...actions);
}

/** @param {string} href @param {string} label @param {string} [kind] */
export const linkButton = (href, label, kind = "") => h("a", { class: `button ${kind}`, href }, label);

/** @param {number} count @param {string} [kind] */
export function skeletons(count, kind = "") {
  return h("div", { class: "stack" },
    h("p", { class: "visually-hidden" }, "Loading"),
    Array.from({ length: count }, () => h("div", { class: `skeleton ${kind}`, "aria-hidden": "true" })));
}

/**
 * Shows what is being read, then it, or what went wrong with a button to read again.
 * @template T
 * @param {HTMLElement} place
 * @param {() => Promise<T>} load
 * @param {(loaded: T) => any} show
 * @param {{signal: AbortSignal, waiting?: any}} options
 */
export async function loading(place, load, show, { signal, waiting = skeletons(3) }) {
  fill(place, waiting);
  place.setAttribute("aria-busy", "true");
  try {
    const loaded = await load();
    if (!signal.aborted) fill(place, show(loaded));
  } catch (error) {
    if (!signal.aborted) fill(place, problemNotice(error, () => loading(place, load, show, { signal, waiting })));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/**
 * A list that grows page by page. Who asks for more by the keyboard goes on at what came.
 * @param {{load: (cursor: string|null) => Promise<{items: any[], next_cursor: string|null}>, item: (one: any) => Node, none: () => Node, signal: AbortSignal, name: string, listClass?: string, waiting?: any}} options
 *   `waiting` is shown until the first page is there.
 */
export function pagedList({ load, item, none, signal, name, listClass = "list", waiting }) {
  const list = h("ul", { class: listClass, "aria-label": name });
  const more = h("div", { class: "more" });
  const place = h("div");
  const next = async (cursor) => {
    const page = await load(cursor);
    const added = page.items.map(item);
    const hadFocus = more.contains(document.activeElement);
    list.append(...added);
    fill(more, page.next_cursor === null ? null : moreButton(() => next(page.next_cursor)));
    if (hadFocus) added[0]?.querySelector("a, summary, button")?.focus();
    return page;
  };
  loading(place, () => next(null), (page) => (page.items.length === 0 && page.next_cursor === null ? none() : [list, more]), { signal, waiting });
  return place;
}

function moreButton(act) {
  const problems = h("div", { role: "alert" });
  return [actionButton({ label: "Show more", kind: "plain", problems, act }), problems];
}

/**
 * A number with buttons beside it.
 * @param {{label: string, value: number, min?: number, max?: number, changed?: (value: number) => void}} options
 */
export function stepper({ label, value, min = 1, max = 1_000_000, changed = () => {} }) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "number", inputmode: "numeric", min, max, value, "aria-label": label }));
  const set = (wanted) => {
    input.value = String(Math.min(max, Math.max(min, Number.isInteger(wanted) ? wanted : min)));
    changed(Number(input.value));
  };
  input.addEventListener("change", () => set(Number(input.value)));
  const button = (text, name, step) =>
    h("button", { type: "button", "aria-label": `${name}: ${label}`, on: { click: () => set(Number(input.value) + step) } }, text);
  return { element: h("span", { class: "stepper" }, button("−", "Fewer", -1), input, button("+", "More", 1)), input };
}
