/** @file What stands around every page: where one can go, the balance, the theme, who is signed in. */

import { announce } from "./announce.js";
import { cart } from "./cart.js";
import { byId, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { live } from "./live.js";
import { formatMoney } from "./money.js";
import { sentenceOf } from "./problems.js";
import { here } from "./router.js";
import { session } from "./session.js";
import { toggleTheme } from "./theme.js";
import { wallet } from "./wallet.js";

/** Where each role goes, in the order of what it does most. */
const PLACES = [
  { path: "/shop", label: "Shop", icon: "shop", roles: ["buyer", "merchant"] },
  { path: "/cart", label: "Cart", icon: "cart", roles: ["buyer", "merchant"], count: () => cart.pieces },
  { path: "/orders", label: "Orders", icon: "orders", roles: ["buyer", "merchant"] },
  { path: "/sales", label: "Sales", icon: "sales", roles: ["merchant"], within: ["/webhooks"] },
  { path: "/products", label: "Products", icon: "products", roles: ["merchant"] },
  { path: "/operations", label: "Operations", icon: "operations", roles: ["operator"] },
  { path: "/treasury", label: "Treasury", icon: "treasury", roles: ["treasury"] },
  { path: "/wallet", label: "Wallet", icon: "wallet", roles: ["buyer", "merchant"] },
];

const logo = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel="icon"]')).href;
const purse = h("a", { class: "purse", href: "#/wallet" });

/** Draws everything, and draws it again when it changes. */
export function startShell() {
  for (const [source, event] of /** @type {[EventTarget, string][]} */ ([
    [session, "change"], [cart, "change"], [window, "hashchange"],
  ])) source.addEventListener(event, draw);
  wallet.addEventListener("change", (event) => drawPurse(/** @type {CustomEvent} */ (event).detail.moved));
  live.addEventListener("state", () => drawPurse(null));
  draw();
}

/** The pages of the user's roles. */
export function places() {
  return PLACES.filter((place) => place.roles.some((role) => session.has(role)));
}

function draw() {
  const links = places().map(link);
  fill(byId("header"), h("div", { class: "header-inner" },
    h("a", { class: "brand", href: "#/" }, h("img", { src: logo, alt: "", width: 28, height: 28 }), h("span", { class: "brand-word" }, "TradeFlow")),
    links.length > 0 && h("nav", { class: "header-nav", "aria-label": "Pages" }, links),
    h("div", { class: "header-end" }, hasWallet() && purse, themeButton(), session.user && account())));
  fill(byId("tabs"), places().map((place) => link(place, true)));
  drawPurse(null);
}

function link(place, withIcon = false) {
  const current = [place.path, ...(place.within ?? [])].some((path) => here().startsWith(path)) ? "page" : null;
  const count = place.count?.() ?? 0;
  return h("a", { href: `#${place.path}`, class: place.count ? "with-count" : null, "aria-current": current },
    withIcon === true && icon(/** @type {any} */ (place.icon)), place.label,
    count > 0 && h("span", { class: "count" }, count, h("span", { class: "visually-hidden" }, " pieces")));
}

const hasWallet = () => session.has("buyer") || session.has("merchant");

/** @param {string|null} moved The currency whose balance just moved. */
function drawPurse(moved) {
  const main = wallet.main;
  const amount = main ? formatMoney(main.available) : wallet.known ? "Empty wallet" : "…";
  const mood = live.state === "live" ? "live" : live.state === "lost" ? "lost" : "";
  const spoken = { live: "live", lost: "connection lost", connecting: "connecting", off: "" }[live.state];
  fill(purse, h("span", { class: `pulse ${mood}` }), h("span", { class: "visually-hidden" }, `Wallet, ${spoken}: `), amount);
  if (moved === null || main?.currency !== moved) return;
  purse.classList.remove("moved");
  purse.getBoundingClientRect(); // lets the animation begin anew
  purse.classList.add("moved");
  announce(`Your balance moved: ${amount} available.`);
}

function themeButton() {
  return h("button", { class: "icon-button", type: "button", "aria-label": "Switch between light and dark", on: { click: toggleTheme } }, icon("theme"));
}

/** Says so when it fails: whoever leaves a shared machine must know. */
async function signOut() {
  try {
    await session.signOut();
  } catch (error) {
    fill(byId("connection"), h("div", { class: "notice bad", role: "alert" },
      h("p", {}, h("strong", {}, "You are still signed in. "), sentenceOf(error)),
      h("button", { class: "button plain small-button", type: "button", on: { click: signOut } }, "Sign out")));
  }
}

function account() {
  return [
    h("a", { class: "who", href: "#/account", title: session.user?.email, "aria-label": `Account of ${session.user?.email}` },
      icon("person"), h("span", { class: "who-name" }, session.user?.email)),
    h("button", { class: "icon-button", type: "button", "aria-label": "Sign out", on: { click: signOut } }, icon("leave")),
  ];
}
