/** @file What is for sale. */

import { announce } from "../announce.js";
import { read } from "../api.js";
import { cart } from "../cart.js";
import { h } from "../dom.js";
import { badge, empty, linkButton, money, pageHead, pagedList, stepper } from "../parts.js";
import { pattern } from "../pattern.js";
import { session } from "../session.js";
import { shortId } from "../words.js";

const PAGE = 24;
const FEW = 5;

export function shopPage({ signal }) {
  return h("div", {},
    pageHead("Shop", "Take from as many sellers as you like: it becomes one order, paid from your wallet."),
    pagedList({
      name: "Products", listClass: "products", signal, item: productCard,
      load: (cursor) => read("/api/v1/products", { limit: PAGE, cursor }, signal),
      none: () => empty("Nothing is for sale yet", session.has("merchant") ? "Offer the first product: it is here at once." : "As soon as a merchant offers something, it is here.",
        session.has("merchant") ? linkButton("#/products", "Offer a product") : linkButton("#/wallet", "Look at your wallet", "plain")),
    }));
}

function productCard(product) {
  const isOut = product.stock === 0;
  const { element, input } = stepper({ label: `pieces of ${product.title}`, value: 1, max: product.stock ?? undefined });
  const put = () => {
    cart.add(product, Number(input.value));
    announce(`${input.value} × ${product.title} in the cart.`);
  };
  return h("li", { class: "product" },
    pattern(product.sku),
    h("div", { class: "product-words" },
      h("h2", {}, product.title),
      h("p", { class: "small quiet" }, product.seller_id === session.user?.user_id ? "sold by you" : `by seller …${shortId(product.seller_id)}`),
      h("p", { class: "row-between" }, h("span", { class: "product-price" }, money(product.price)), stockBadge(product.stock))),
    h("div", { class: "product-buy" },
      isOut ? h("p", { class: "quiet" }, "Come back later.") : [element, h("button", { class: "button", type: "button", on: { click: put } }, "Add", h("span", { class: "visually-hidden" }, ` ${product.title} to the cart`))]));
}

/** @param {number|null} stock */
export function stockBadge(stock) {
  if (stock === null) return badge("always in stock", "good");
  if (stock === 0) return badge("sold out", "bad");
  return stock <= FEW ? badge(`only ${stock} left`, "warn") : badge(`${stock} in stock`, "good");
}
