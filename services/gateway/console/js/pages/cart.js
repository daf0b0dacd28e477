/** @file What somebody is about to order, and the order itself. */

import { announce } from "../announce.js";
import { doOnce } from "../api.js";
import { cart } from "../cart.js";
import { confirmed } from "../confirm.js";
import { fill, h } from "../dom.js";
import { form } from "../form.js";
import { formatMoney, sum, times } from "../money.js";
import { empty, linkButton, money, pageHead, stepper } from "../parts.js";
import { go } from "../router.js";
import { keepTrace } from "../traces.js";
import { wallet } from "../wallet.js";
import { shortId } from "../words.js";

export function cartPage({ signal }) {
  const place = h("div");
  const draw = () => fill(place, cart.lines.length === 0 ? nothing() : currencies().map(basket));
  cart.addEventListener("change", draw, { signal });
  draw();
  return h("div", {}, pageHead("Cart", "Nothing moves until you place the order."), place);
}

const nothing = () => empty("Your cart is empty", "Put something into it: it stays here, also when you leave.", linkButton("#/shop", "To the shop"));

const currencies = () => [...new Set(cart.lines.map((line) => line.price.currency))].sort();

/** An order is in one currency, so each currency has a basket of its own. */
function basket(currency) {
  const lines = cart.lines.filter((line) => line.price.currency === currency).sort((a, b) => a.title.localeCompare(b.title));
  const total = sum(lines.map((line) => times(line.price, line.quantity)));
  const sellers = new Set(lines.map((line) => line.seller_id)).size;
  return h("section", { class: "two-columns", "aria-label": `Basket in ${currency}` },
    h("ul", { class: "list" }, lines.map(lineItem)),
    h("div", { class: "card stack sticky" },
      h("h2", {}, sellers === 1 ? "One order, one seller" : `One order, ${sellers} sellers`),
      h("p", { class: "total" }, h("span", {}, "Total"), money(total)),
      coverage(total),
      orderForm(lines, total)));
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

function orderForm(lines, total) {
  return form({
    label: "Place the order",
    submit: "Place the order",
    children: [
      h("fieldset", { class: "stack-small" }, h("legend", { class: "field-label" }, "When does the money move?"),
        h("div", { class: "choices" },
          choice("automatic", "At once", "The sellers are paid right away.", true),
          choice("manual", "When confirmed", "It is held until you or a seller confirms.", false))),
    ],
    act: ({ capture }) => place(lines, total, capture),
  });
}

function choice(value, label, text, checked) {
  return h("label", { class: "choice" }, h("input", { type: "radio", name: "capture", value, checked }),
    h("span", {}, h("strong", {}, label), h("span", { class: "small quiet" }, text)));
}

async function place(lines, total, capture) {
  const pieces = lines.reduce((count, line) => count + line.quantity, 0);
  const agreed = await confirmed({
    title: `Pay ${formatMoney(total)}?`,
    text: [`${pieces === 1 ? "One piece" : `${pieces} pieces`} from ${lines.length === 1 ? "one product" : `${lines.length} products`}.`,
      capture === "automatic" ? "The money leaves your wallet now." : "The money is held in your wallet until you or a seller confirms."],
    yes: "Place the order",
  });
  if (!agreed) return;
  const wanted = { lines: lines.map(({ sku, quantity }) => ({ sku, quantity })), capture };
  const sentAtMs = Date.now();
  const { answer, traceId } = await doOnce("place-order", "/api/v1/orders", wanted);
  keepTrace({ orderId: answer.order_id, traceId, sentAtMs });
  cart.clear(total.currency);
  announce("The order is placed.");
  go(`/orders/${answer.order_id}`);
}
