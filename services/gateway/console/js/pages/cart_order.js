/** @file The order itself: asked about at today's prices, and sent once, with the total that was agreed to. */

import { announce } from "../announce.js";
import { doOnce, read } from "../api.js";
import { cart } from "../cart.js";
import { confirmed } from "../confirm.js";
import { formatMoney, sum, times } from "../money.js";
import { ProblemError } from "../problems.js";
import { go } from "../router.js";
import { keepTrace } from "../traces.js";

/** @param {import("../cart.js").CartLine[]} lines Of one currency. @param {string} capture */
export async function placeOrder(lines, capture) {
  if (await reprice(lines)) throw new ProblemError({ status: 409, reason: "price_changed" });
  const total = sum(lines.map((line) => times(line.price, line.quantity)));
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
  const { answer, traceId } = await send(wanted, total, lines);
  keepTrace({ orderId: answer.order_id, traceId, sentAtMs });
  cart.remove(lines);
  announce("The order is placed.");
  go(`/orders/${answer.order_id}`);
}

/** A price may change while its buyer agrees: then nothing is ordered, and the cart shows the new one. */
async function send(wanted, total, lines) {
  try {
    return await doOnce("place-order", "/api/v1/orders", wanted, { expected_total: total });
  } catch (error) {
    if (error instanceof ProblemError && error.reason === "total_changed") await reprice(lines).catch(() => false); // else at the next try
    throw error;
  }
}

/** What lies in a cart for days has the prices of then, and the order those of now: tells whether they are others. */
async function reprice(lines) {
  const products = (await Promise.all(lines.map(({ sku }) => productOf(sku)))).filter((product) => product !== null);
  const changed = products.filter(({ sku, price }) => {
    const known = lines.find((line) => line.sku === sku)?.price;
    return known?.amount_minor !== price.amount_minor || known?.currency !== price.currency;
  });
  if (changed.length > 0) cart.reprice(changed);
  return changed.length > 0;
}

/** A product that is gone is for the order to refuse. */
async function productOf(sku) {
  try {
    return await read(`/api/v1/products/${encodeURIComponent(sku)}`);
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return null;
    throw error;
  }
}
