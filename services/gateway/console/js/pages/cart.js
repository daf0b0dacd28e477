/** @file What somebody is about to order. */

import { cart } from "../cart.js";
import { fill, h, refill } from "../dom.js";
import { form } from "../form.js";
import { formatMoney, sum, times } from "../money.js";
import { empty, linkButton, money, pageHead, stepper } from "../parts.js";
import { wallet } from "../wallet.js";
import { shortId } from "../words.js";
import { placeOrder } from "./cart_order.js";

export function cartPage({ signal }) {
  const place = h("div", { class: "stack" });
  let baskets = /** @type {Map<string, ReturnType<typeof basket>>} */ (new Map());
  const draw = () => {
    const before = baskets;
    baskets = new Map(currencies().map((currency) => [currency, before.get(currency) ?? basket(currency)]));
    for (const { update } of baskets.values()) update();
    if ([...before.keys()].join() === [...baskets.keys()].join()) return;
    refill(place, baskets.size === 0 ? nothing() : [...baskets.values()].map(({ element }) => element));
  };
  fill(place, nothing());
  cart.addEventListener("change", draw, { signal });
  draw();
  return h("div", {}, pageHead("Cart", "Nothing moves until you place the order."), place);
}

const nothing = () => empty("Your cart is empty", "Put something into it: it stays here, also when you leave.", linkButton("#/shop", "To the shop"));

const currencies = () => [...new Set(cart.lines.map((line) => line.price.currency))].sort();

const linesIn = (currency) => cart.lines.filter((line) => line.price.currency === currency);

/** An order is in one currency, so each currency has a basket of its own. The form stays as it is while pieces change. */
function basket(currency) {
  const list = h("ul", { class: "list" });
  const summary = h("div", { class: "stack" });
  const element = h("section", { class: "two-columns", "aria-label": `Basket in ${currency}` },
    list, h("div", { class: "card stack sticky" }, summary, orderForm(currency)));
  const update = () => {
    const lines = linesIn(currency).sort((a, b) => a.title.localeCompare(b.title));
    refill(list, lines.map(lineItem));
    fill(summary, summaryOf(lines));
  };
  return { element, update };
}

function summaryOf(lines) {
  const total = sum(lines.map((line) => times(line.price, line.quantity)));
  const sellers = new Set(lines.map((line) => line.seller_id)).size;
  return [
    h("h2", {}, sellers === 1 ? "One order, one seller" : `One order, ${sellers} sellers`),
    h("p", { class: "total" }, h("span", {}, "Total"), money(total)),
    coverage(total),
  ];
}

function lineItem(line) {
  const { element } = stepper({ label: `pieces of ${line.title}`, value: line.quantity, changed: (quantity) => cart.change(line.sku, quantity) });
  return h("li", { class: "cart-line" },
    h("div", {}, h("p", { class: "list-title" }, line.title), h("p", { class: "small quiet" }, money(line.price), ` each · seller …${shortId(line.seller_id)}`)),
    h("p", { class: "money" }, formatMoney(times(line.price, line.quantity))),
    element,
    h("button", { class: "button plain small-button", type: "button", on: { click: () => cart.change(line.sku, 0) } }, "Remove", h("span", { class: "visually-hidden" }, ` ${line.title}`)));
}

function coverage(total) {
  const available = wallet.balances.get(total.currency)?.available;
  if (!wallet.known) return null;
  const missing = total.amount_minor - (available?.amount_minor ?? 0);
  if (missing <= 0) return h("p", { class: "small quiet" }, `You have ${formatMoney(/** @type {any} */ (available))} available.`);
  return h("div", { class: "notice warn" },
    h("p", {}, `${formatMoney({ amount_minor: missing, currency: total.currency })} are missing in your wallet.`), linkButton("#/wallet", "To the wallet", "plain small-button"));
}

function orderForm(currency) {
  return form({
    label: "Place the order",
    submit: "Place the order",
    children: [
      h("fieldset", { class: "stack-small" }, h("legend", { class: "field-label" }, "When does the money move?"),
        h("div", { class: "choices" },
          choice("automatic", "At once", "The sellers are paid right away.", true),
          choice("manual", "When confirmed", "It is held until you or a seller confirms.", false))),
    ],
    act: ({ capture }) => placeOrder(linesIn(currency), capture),
  });
}

function choice(value, label, text, checked) {
  return h("label", { class: "choice" }, h("input", { type: "radio", name: "capture", value, checked }),
    h("span", {}, h("strong", {}, label), h("span", { class: "small quiet" }, text)));
}
