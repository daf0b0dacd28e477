/** @file Which page is shown: what stands behind `#` in the address. So links, bookmarks and the back button work. */

import { byId, fill, h } from "./dom.js";
import { problemNotice } from "./form.js";

/** @typedef {{params: string[], query: URLSearchParams, signal: AbortSignal}} Visit */
/** @typedef {{path: RegExp, title: string, show: (visit: Visit) => Node|Promise<Node>}} Route */

let leaving = new AbortController();
let shownPath = "";

/** Where the address leads, without `#`. */
export function here() {
  return location.hash.slice(1) || "/";
}

/** @param {string} path */
export function go(path) {
  if (here() === path) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = path;
}

/**
 * Shows the page of the address.
 * @param {Route[]} routes The last one takes what no other takes.
 */
export async function showPage(routes) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, search = ""] = here().split("?");
  const route = routes.find((one) => one.path.test(path)) ?? routes[routes.length - 1];
  const params = (route.path.exec(path) ?? []).slice(1).map(decodeURIComponent);
  const main = byId("main");
  document.title = `${route.title} · TradeFlow`;
  const page = await shown(route, { params, query: new URLSearchParams(search), signal });
  if (signal.aborted) return;
  const focused = main.contains(document.activeElement) ? document.activeElement?.id : "";
  fill(main, page);
  if (shownPath !== "" && shownPath !== path) arrive(main);
  else if (focused) document.getElementById(focused)?.focus();
  shownPath = path;
}

async function shown(route, visit) {
  try {
    return await route.show(visit);
  } catch (error) {
    return h("div", {}, problemNotice(error, () => dispatchEvent(new HashChangeEvent("hashchange"))));
  }
}

/** Goes to the top, and lets those who listen hear where they are. */
function arrive(main) {
  scrollTo(0, 0);
  const heading = /** @type {HTMLElement} */ (main.querySelector("h1") ?? main);
  heading.focus({ preventScroll: true });
}
