/** @file What somebody bought, and what somebody sold. */

import { read } from "../api.js";
import { h } from "../dom.js";
import { select } from "../form.js";
import { empty, linkButton, money, pageHead, pagedList, stateBadge } from "../parts.js";
import { go } from "../router.js";
import { formatInstant } from "../times.js";
import { ORDER_STATES } from "../words.js";

const PAGE = 20;

export const ordersPage = (visit) => list(visit, {
  path: "/orders", role: "buyer", title: "Orders", lead: "What you bought, newest first.",
  none: () => empty("No orders yet", "Choose something in the shop: your order appears here with its whole story.", linkButton("#/shop", "To the shop")),
});

export const salesPage = (visit) => list(visit, {
  path: "/sales", role: "seller", title: "Sales", more: linkButton("#/webhooks", "Webhooks", "plain"), lead: "Orders with your products, newest first. You see your own lines and what they come to.",
  none: () => empty("No sales yet", "As soon as somebody orders one of your products, the order is here.", linkButton("#/products", "To your products")),
});

function list({ query, signal }, { path, role, title, lead, none, more }) {
  const state = query.get("state") ?? "";
  return h("div", {},
    pageHead(title, lead, filter(path, state), more),
    pagedList({
      name: title, signal, item: orderItem,
      load: (cursor) => read("/api/v1/orders", { role, state, limit: PAGE, cursor }, signal),
      none: () => (state === "" ? none() : empty("None in this state", "There are orders in other states, perhaps.", linkButton(`#${path}`, "Show all", "plain"))),
    }));
}

function filter(path, state) {
  const labels = Object.entries(ORDER_STATES).map(([value, { label }]) => /** @type {[string, string]} */ ([value, label]));
  const control = select([["", "All states"], ...labels], state);
  control.id = "state-filter";
  control.addEventListener("change", () => {
    const wanted = /** @type {HTMLSelectElement} */ (control).value;
    go(wanted ? `${path}?state=${wanted}` : path);
  });
  return h("div", { class: "field" }, h("label", { for: control.id, class: "small" }, "State"), control);
}

function orderItem(order) {
  const titles = order.lines.map((line) => `${line.quantity} × ${line.title}`).join(", ");
  return h("li", {}, h("a", { class: "list-link", href: `#/orders/${order.order_id}` },
    h("span", { class: "list-title" }, titles),
    h("span", { class: "money" }, money(order.total)),
    h("span", { class: "small quiet" }, formatInstant(order.created_at)),
    h("span", {}, stateBadge(order.state))));
}
