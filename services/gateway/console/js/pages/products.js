/** @file A merchant's own products: offering, pricing, counting. */

import { announce } from "../announce.js";
import { amountFields, amountOf } from "../amount_field.js";
import { read, write } from "../api.js";
import { disclosure } from "../disclosure.js";
import { h } from "../dom.js";
import { FieldError, field, form } from "../form.js";
import { decimal, fractionDigits } from "../money.js";
import { empty, loading, money, pageHead } from "../parts.js";
import { ProblemError } from "../problems.js";
import { session } from "../session.js";
import { stockBadge } from "./shop.js";

const PAGE = 200;

export function productsPage({ signal }) {
  const place = h("div");
  const show = () => loading(place, () => ownProducts(signal), listed, { signal });
  const listed = (products) => (products.length === 0
    ? empty("You don't sell anything yet", "Fill in the form: your product is in the shop a moment later.")
    : h("ul", { class: "list", "aria-label": "Your products" }, products.map((product) => productItem(product, show))));
  show();
  return h("div", {},
    pageHead("Products", "What you sell. Orders keep the price that they were placed with."),
    h("div", { class: "two-columns" }, place, newProductCard(show)));
}

async function ownProducts(signal) {
  const own = [];
  let cursor = null;
  do {
    const page = await read("/api/v1/products", { limit: PAGE, cursor }, signal);
    own.push(...page.items.filter((product) => product.seller_id === session.user?.user_id));
    cursor = page.next_cursor;
  } while (cursor !== null);
  return own;
}

function newProductCard(show) {
  return h("section", { class: "card" }, h("h2", {}, "Offer a product"),
    form({
      label: "Offer a product", submit: "Offer it",
      children: [
        field({ name: "title", label: "Title", required: true, maxlength: 200 }),
        field({ name: "sku", label: "Code", hint: "Yours to choose; it names the product for ever.", autocomplete: "off", required: true, maxlength: 64 }),
        amountFields("EUR"),
        field({ name: "stock", label: "Pieces in stock", inputmode: "numeric", hint: "Leave it empty if nobody counts." }),
      ],
      act: async (values, element) => {
        if (values.title === "") throw new FieldError("title", "Give it a title.");
        if (!/^[A-Za-z0-9._@:+-]{1,64}$/.test(values.sku)) throw new FieldError("sku", "Use up to 64 letters, digits and . _ @ : + -");
        const product = { sku: values.sku, title: values.title, price: amountOf(values), stock: stockOf(values.stock) };
        await write("POST", "/api/v1/products", product);
        announce(`${values.title} is for sale.`);
        element.reset();
        await show();
      },
    }));
}

function productItem(product, show) {
  const { button, place } = disclosure({ label: "Change", of: product.title, content: () => changeForm(product, show) });
  return h("li", { class: "list-item" },
    h("div", { class: "row-between" },
      h("div", { class: "grow" }, h("p", { class: "list-title" }, product.title), h("p", { class: "small quiet" }, h("code", {}, product.sku))),
      h("div", { class: "row" }, money(product.price), stockBadge(product.stock), button)),
    place);
}

function changeForm(product, show) {
  const { currency, amount_minor: minor } = product.price;
  let shownStock = product.stock;
  return form({
    label: `Change ${product.title}`, submit: "Save", plain: true,
    children: [h("div", { class: "fields" },
      field({ name: "amount", label: `Price in ${currency}`, inputmode: "decimal", value: decimal(minor, fractionDigits(currency)) }),
      field({ name: "stock", label: "Pieces in stock", inputmode: "numeric", hint: "Empty: nobody counts.", value: product.stock ?? "" }))],
    act: async (values) => {
      const price = amountOf({ ...values, currency });
      const stock = stockOf(values.stock);
      // Pieces are sold while the form stands there: a stock that nobody touched stays as it is by then.
      const changes = { ...(price.amount_minor !== minor && { price }), ...(stock !== shownStock && { stock }) };
      try {
        await change(product.sku, changes, shownStock);
      } catch (error) {
        if (!(error instanceof ProblemError && error.reason === "stock_changed")) throw error;
        const before = shownStock;
        shownStock = JSON.parse(error.details.stock);
        throw new FieldError("stock", `The stock went from ${pieces(before)} to ${pieces(shownStock)} meanwhile, and nothing was changed. Save again if what you want is still this.`);
      }
      announce(`${product.title} is changed.`);
      await show();
    },
  });
}

/** Sends what differs from what was shown, and a stock only in place of the one that was shown. */
async function change(sku, changes, shownStock) {
  if (Object.keys(changes).length === 0) return;
  const conditions = "stock" in changes ? { expected_stock: shownStock } : undefined;
  await write("PATCH", `/api/v1/products/${encodeURIComponent(sku)}`, changes, conditions);
}

const pieces = (stock) => (stock === null ? "uncounted" : String(stock));

function stockOf(text) {
  if (text === "") return null;
  if (!/^\d{1,9}$/.test(text)) throw new FieldError("stock", "Enter a whole number from 0, or nothing.");
  return Number(text);
}
