/** @file A merchant's webhooks: who is told of orders, what was sent there, and what was given up. */

import { announce } from "../announce.js";
import { read, write } from "../api.js";
import { confirmed } from "../confirm.js";
import { disclosure } from "../disclosure.js";
import { fill, h } from "../dom.js";
import { FieldError, actionButton, field, form } from "../form.js";
import { badge, empty, loading, pageHead, pagedList } from "../parts.js";
import { formatInstant } from "../times.js";

const PATH = "/api/v1/webhooks";
const PAGE = 20;

const STATES = {
  PENDING: { label: "Waiting", mood: "info" },
  DELIVERED: { label: "Delivered", mood: "good" },
  DEAD: { label: "Given up", mood: "bad" },
};

export function webhooksPage({ signal }) {
  const place = h("div");
  const show = () => loading(place, () => read(PATH, {}, signal), listed, { signal });
  const listed = ({ items }) => (items.length === 0
    ? empty("Nobody is told yet", "Enter an address of your server: what happens to your orders is sent there, signed.")
    : h("ul", { class: "list", "aria-label": "Webhooks" }, items.map((endpoint) => endpointItem(endpoint, show, signal))));
  show();
  return h("div", {},
    pageHead("Webhooks", "Your own systems hear at once what happens to orders with your products."),
    h("div", { class: "two-columns" }, place, newEndpointCard(show)));
}

function newEndpointCard(show) {
  const secret = h("div", { role: "status" });
  return h("section", { class: "card stack" }, h("h2", {}, "Add an address"),
    form({
      label: "Add an address", submit: "Add it",
      children: [field({ name: "url", label: "Address", type: "url", hint: "Of your server; only https.", autocomplete: "off", required: true })],
      act: async ({ url }, element) => {
        if (!URL.canParse(url)) throw new FieldError("url", "Enter a whole address, with https.");
        fill(secret, secretNotice(await write("POST", PATH, { url })));
        element.reset();
        await show();
      },
    }),
    secret);
}

/** The only time that a secret is shown. */
function secretNotice({ url, secret }) {
  return h("div", { class: "notice anywhere" },
    h("p", {}, h("strong", {}, "Keep this secret now: it isn't shown again. "), `${url} checks signatures with it.`),
    h("p", {}, h("code", {}, secret)));
}

function endpointItem(endpoint, show, signal) {
  const { endpoint_id: id, url, failures } = endpoint;
  const problems = h("div", { role: "alert" }), secret = h("div", { role: "status" });
  const { button: toggle, place: below } = disclosure({ label: "Deliveries", of: `to ${url}`, content: () => deliveries(id, signal) });
  const rotate = actionButton({ label: "New secret", kind: "plain small-button", problems, act: async () => {
    const agreed = await confirmed({
      title: "Make a new secret?", yes: "Make it", text: ["For a day, messages are signed with the old one too. Then only the new one counts."],
    });
    if (agreed) fill(secret, secretNotice(await write("POST", `${PATH}/${id}/secret`)));
  } });
  const remove = actionButton({ label: "Remove", kind: "grave small-button", problems, act: async () => {
    const agreed = await confirmed({ title: "Tell it no more?", yes: "Remove it", grave: true, text: [`What waits for ${url} isn't sent either.`] });
    if (!agreed) return;
    await write("DELETE", `${PATH}/${id}`);
    await show();
  } });
  return h("li", { class: "list-item" },
    h("div", { class: "row-between" },
      h("div", { class: "grow" }, h("p", { class: "list-title anywhere" }, url), h("p", { class: "small quiet" }, `since ${formatInstant(endpoint.created_at)}`)),
      failures > 0 ? badge(`Failed ${failures} times in a row`, "bad") : badge("Listens", "good")),
    h("div", { class: "row" }, toggle, rotate, remove),
    problems, secret, below);
}

function deliveries(id, signal) {
  const place = h("div"), problems = h("div", { role: "alert" });
  const show = () => fill(place, pagedList({
    name: "Deliveries", signal, item: deliveryItem,
    load: (cursor) => read(`${PATH}/${id}/deliveries`, { limit: PAGE, cursor }, signal),
    none: () => empty("Nothing was sent yet", "As soon as something happens to an order of yours, it is here."),
  }));
  const redrive = actionButton({ label: "Send again what was given up", kind: "plain small-button", problems, act: async () => {
    const { redriven } = await write("POST", `${PATH}/${id}/redrive`);
    announce(redriven === 1 ? "One delivery is sent again." : `${redriven} deliveries are sent again.`);
    show();
  } });
  show();
  return h("div", { class: "stack-small" }, place, h("div", { class: "row" }, redrive), problems);
}

function deliveryItem(delivery) {
  const { label, mood } = STATES[delivery.state];
  const attempts = delivery.attempts === 1 ? "one attempt" : `${delivery.attempts} attempts`;
  const answer = delivery.status === null ? delivery.error : `answered ${delivery.status}`;
  return h("li", { class: "list-item" },
    h("div", { class: "row-between" },
      h("div", { class: "grow" },
        h("p", {}, h("code", {}, delivery.event_type), " of ", h("a", { href: `#/orders/${delivery.order_id}` }, "this order")),
        h("p", { class: "small quiet" }, [formatInstant(delivery.created_at), attempts, answer].filter(Boolean).join(" · "))),
      badge(label, mood)));
}
