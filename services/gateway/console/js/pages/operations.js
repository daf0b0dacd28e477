/** @file How the platform is, for operators: looked at every two seconds while somebody looks. */

import { read } from "../api.js";
import { chart } from "../chart.js";
import { fill, h } from "../dom.js";
import { FieldError, field, form, problemNotice } from "../form.js";
import { formatMoney } from "../money.js";
import { badge, pageHead, skeletons } from "../parts.js";
import { go } from "../router.js";
import { keepLooking } from "../looking.js";
import { WINDOW_MS, looks, note, points } from "../operations_log.js";
import { formatInstant, formatSpan } from "../times.js";
import { INVARIANTS, shortId } from "../words.js";
import { discrepanciesCard } from "./operations_discrepancies.js";

const LOOK_MS = 2000;

export function operationsPage({ signal }) {
  const summary = h("div", {}, skeletons(1, "tall")), details = h("div", {}, skeletons(3, "tall"));
  const trouble = h("div");
  const look = async () => {
    try {
      note(await read("/api/v1/operations", {}, signal));
      if (signal.aborted) return;
      fill(trouble);
      const seen = looks();
      fill(summary, tiles(seen[seen.length - 1].body.figures));
      fill(details, dashboard(seen));
    } catch (error) {
      if (signal.aborted) return;
      fill(trouble, problemNotice(error));
    }
  };
  keepLooking(look, { signal, pauseMs: LOOK_MS });
  return h("div", {},
    pageHead("Operations", "The platform as this gateway sees it, every two seconds.", orderSearch()),
    h("div", { class: "stack" }, trouble, summary, discrepanciesCard(signal, LOOK_MS), details));
}

function orderSearch() {
  return form({
    label: "Find an order", submit: "Show it", plain: true, kind: "inline-form",
    children: [field({ name: "order", label: "An order, by its id", autocomplete: "off" })],
    act: async ({ order }) => {
      if (!/^[0-9a-f-]{36}$/.test(order)) throw new FieldError("order", "An order's id has 36 characters.");
      go(`/orders/${order}`);
    },
  });
}

/** @param {import("../operations_log.js").Look[]} seen */
function dashboard(seen) {
  const { figures, keys, observed_at: observedAt } = seen[seen.length - 1].body;
  return h("div", { class: "stack" },
    h("div", { class: "halves" }, charts(seen).map((one) => h("section", { class: "card" }, one))),
    h("div", { class: "halves" }, services(figures), invariants(figures), outboxes(figures), consumers(figures), keyList(keys), holds(figures)),
    h("p", { class: "small quiet" }, `Last looked at ${formatInstant(observedAt)}.`));
}

function tiles(figures) {
  return h("div", { class: "tiles" }, invariantsTile(figures), servicesTile(figures), lettersTile(figures), discrepanciesTile(figures));
}

function tile(label, figure, mood, text) {
  return h("div", { class: "tile" }, h("p", { class: "small quiet" }, label), h("p", { class: "tile-figure" }, figure), h("p", {}, badge(text, mood)));
}

function invariantsTile({ invariants: all }) {
  const held = all.filter((one) => one.holds).length;
  if (all.length === 0) return tile("Invariants", "–", "warn", "not told");
  return tile("Invariants", `${held} of ${all.length}`, held === all.length ? "good" : "bad", held === all.length ? "all hold" : "broken");
}

function servicesTile({ services: all }) {
  const ready = all.filter((one) => one.ready).length;
  return tile("Services", `${ready} of ${all.length}`, ready === all.length ? "good" : "bad", ready === all.length ? "all ready" : "not all ready");
}

function lettersTile({ consumers: all }) {
  const letters = all.reduce((sum, one) => sum + one.dead_letters, 0);
  return tile("Dead letters", letters, letters === 0 ? "good" : "bad", letters === 0 ? "none wait" : "wait to be redriven");
}

function discrepanciesTile({ discrepancies }) {
  const count = Object.values(discrepancies).reduce((sum, one) => sum + one, 0);
  return tile("Orders against the ledger", count, count === 0 ? "good" : "bad", count === 0 ? "all agree" : "disagree");
}

function charts(seen) {
  const nowMs = seen[seen.length - 1].atMs;
  const common = { windowMs: WINDOW_MS, nowMs };
  const perSecond = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}/s`;
  const milliseconds = (value) => formatSpan(value * 1000);
  const whole = (value) => String(Math.round(value));
  return [
    chart({ ...common, title: "Throughput", least: 2, format: perSecond, lines: [
      { name: "requests", points: points("requests") }, { name: "orders", points: points("orders") }, { name: "wallet events", points: points("events") }] }),
    chart({ ...common, title: "Latency of requests", format: milliseconds, lines: [
      { name: "99 %", points: points("p99") }, { name: "median", points: points("p50") }] }),
    chart({ ...common, title: "Latency of placing an order", format: milliseconds, lines: [
      { name: "99 %", points: points("placing99") }, { name: "median", points: points("placing50") }] }),
    chart({ ...common, title: "Waiting to be published", least: 10, format: whole, lines: [{ name: "events", points: points("outbox") }] }),
  ];
}

const section = (title, ...content) => h("section", { class: "card" }, h("h2", {}, title), ...content);

function services({ services: all, connections }) {
  const open = Object.entries(connections).map(([name, count]) => `${count} ${name}`).join(", ");
  return section("Services",
    h("ul", { class: "checks" }, all.map((one) => h("li", {},
      h("div", {}, h("p", {}, h("strong", {}, one.name), ` ${one.version}`), h("p", { class: "small quiet" }, aboutService(one))),
      badge(one.ready ? "ready" : "not ready", one.ready ? "good" : "bad")))),
    open && h("p", { class: "small quiet" }, `Open connections for live events: ${open}.`));
}

function aboutService({ checks, started_at_seconds: started, resident_bytes: bytes }) {
  const wrong = Object.entries(checks).filter(([, said]) => said !== "ok").map(([name, said]) => `${name}: ${said}`);
  const since = started > 0 ? `up for ${formatSpan(Date.now() - started * 1000)}, ${Math.round(bytes / 2 ** 20)} MiB` : "";
  return [...wrong, since].filter(Boolean).join(" · ");
}

function invariants({ invariants: all, audit_age_seconds: age }) {
  return section("Invariants",
    all.length === 0 && h("p", { class: "quiet" }, "The ledger hasn't told yet; its first walk through the book is under way."),
    h("ul", { class: "checks" }, all.map((one) => h("li", {}, INVARIANTS[one.name] ?? one.name, badge(one.holds ? "holds" : "broken", one.holds ? "good" : "bad")))),
    age !== null && h("p", { class: "small quiet" }, `The whole book was walked through ${formatSpan(age * 1000)} ago.`));
}

function outboxes({ outboxes: all }) {
  return section("Outboxes", h("ul", { class: "checks" }, all.map((one) => h("li", {},
    h("div", {}, h("p", {}, h("strong", {}, one.stream)), h("p", { class: "small quiet" }, `${one.service} · ${one.published} published since the start`)),
    one.waiting_events === 0 ? badge("nothing waits", "good") : badge(`${one.waiting_events} wait, oldest ${formatSpan(one.oldest_seconds * 1000)}`, one.oldest_seconds > 10 ? "bad" : "info")))));
}

function consumers({ consumers: all }) {
  return section("Consumers and dead letters", h("ul", { class: "checks" }, all.map((one) => h("li", {},
    h("div", {}, h("p", {}, h("strong", {}, one.name)), h("p", { class: "small quiet" }, `${one.service} · ${one.lag_messages} not handled yet`)),
    h("span", { class: "row" }, one.dead_letters > 0 && badge(`${one.dead_letters} dead letters`, "bad"), badge(one.healthy ? "works" : "stopped", one.healthy ? "good" : "bad"))))));
}

function keyList(keys) {
  return section("Signing keys", h("ul", { class: "checks" }, keys.map((key) => h("li", {},
    h("div", {}, h("p", { class: "mono" }, `…${shortId(key.key_id)}`), h("p", { class: "small quiet" }, key.made_at_seconds > 0 ? `made ${formatInstant(key.made_at_seconds * 1000)}` : "of unknown age")),
    badge(key.signs ? "signs" : key.status === "prepared" ? "published, will sign" : key.status, key.signs ? "good" : "info")))));
}

function holds({ holds: all, commands, order_states: states }) {
  const told = Object.entries(commands).filter(([, count]) => count > 0);
  return section("Since the start",
    h("dl", { class: "facts" },
      all.map((one) => h("div", {}, h("dt", {}, `Held in ${one.currency}`), h("dd", {}, `${formatMoney({ amount_minor: one.amount_minor, currency: one.currency })} in ${one.count} ${one.count === 1 ? "hold" : "holds"}`))),
      told.map(([outcome, count]) => h("div", {}, h("dt", {}, `Commands ${outcome}`), h("dd", {}, count))),
      Object.entries(states).filter(([, count]) => count > 0).map(([state, count]) => h("div", {}, h("dt", {}, `Orders ${state.toLowerCase().replaceAll("_", " ")}`), h("dd", {}, count)))));
}
