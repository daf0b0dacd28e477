/** @file Draws the way of an order: lanes for who works, a line through the nine steps, words beside them. */

import { h, svg } from "./dom.js";
import { formatExactTime, formatSpan } from "./times.js";
import { LANES, spanBefore } from "./way.js";

const LANE_WIDTH = 48;
const ROW_HEIGHT = 84;

/** @param {import("./way.js").Step[]} steps */
export function wayPicture(steps) {
  return h("div", { class: "way" },
    h("div", { class: "way-names", "aria-hidden": "true" }, LANES.map((name) => h("span", {}, name))),
    h("div"),
    lanes(steps),
    h("ol", { class: "way-steps" }, steps.map((step, index) => words(steps, step, index))));
}

function lanes(steps) {
  const width = LANES.length * LANE_WIDTH;
  const height = steps.length * ROW_HEIGHT;
  const points = steps.map((step, index) => [(step.lane + 0.5) * LANE_WIDTH, (index + 0.5) * ROW_HEIGHT]);
  return svg("svg", { class: "way-lanes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    LANES.map((_, lane) => line((lane + 0.5) * LANE_WIDTH, height)),
    steps.slice(1).map((step, index) => link(points[index], points[index + 1], step.state)),
    steps.map((step, index) => node(points[index], step.state)));
}

function line(x, height) {
  return svg("line", { class: "way-lane", x1: x, x2: x, y1: 0, y2: height, "vector-effect": "non-scaling-stroke" });
}

function link([x1, y1], [x2, y2], state) {
  const middle = (y1 + y2) / 2;
  return svg("path", {
    class: `way-path ${state === "current" ? "waiting" : state}`, d: `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`,
    "vector-effect": "non-scaling-stroke",
  });
}

/** A dot is a line without a length: its round ends stay round however the picture is stretched. */
function node([x, y], state) {
  const dot = (kind) => svg("path", { class: `way-dot ${kind}`, d: `M${x} ${y}h0.01`, "vector-effect": "non-scaling-stroke" });
  return [state === "current" && dot("halo"), dot(`rim ${state}`), dot(`core ${state}`)];
}

const SPOKEN = { done: "done", current: "under way", waiting: "still to come", failed: "failed", skipped: "won't happen" };

function words(steps, step, index) {
  const span = spanBefore(steps, index);
  const time = step.atMs === null ? null : h("span", { class: "at" }, formatExactTime(step.atMs));
  return h("li", { class: step.state },
    h("h3", {}, h("span", { class: "visually-hidden" }, `Step ${index + 1}, ${SPOKEN[step.state]}: `), step.title),
    time && h("p", {}, time, span === null ? null : ` · ${span < 0 ? "" : "+"}${formatSpan(span)}`),
    h("p", {}, step.note));
}
