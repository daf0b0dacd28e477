/** @file A chart of lines over time. Its numbers stand beneath it as words, for those who don't see it. */

import { h, svg } from "./dom.js";
import { niceCeiling } from "./series.js";

/** Wide enough for its letters to have about their own size, on a phone and where two share a tablet. */
const WIDTH = innerWidth < 900 ? 320 : 480;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;

/** @typedef {{name: string, points: {atMs: number, value: number|null}[]}} Line */

/**
 * @param {{title: string, lines: Line[], format: (value: number) => string, windowMs: number, nowMs: number, least?: number}} what
 *   `least`: where the axis ends at least.
 */
export function chart({ title, lines, format, windowMs, nowMs, least = 0 }) {
  const values = lines.flatMap((line) => line.points.map((point) => point.value ?? 0));
  const top = niceCeiling(Math.max(...values, least));
  const x = (atMs) => LEFT + (WIDTH - LEFT) * (1 - (nowMs - atMs) / windowMs);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const latest = lines.map((line) => ({ name: line.name, value: line.points.at(-1)?.value ?? null }));
  const told = latest.map(({ name, value }) => `${name} ${value === null ? "–" : format(value)}`);
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("h3", {}, title),
      h("p", { class: "legend" }, told.map((text, index) => h("span", { class: `series-${index + 1}` }, text)))),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${told.join(", ")}` },
      [0, 0.5, 1].map((share) => rule(y(share * top), format(share * top))),
      caption(LEFT, "start", `${Math.round(windowMs / 60_000)} min ago`), caption(WIDTH, "end", "now"),
      lines.map((line, index) => drawn(line.points, index, x, y))));
}

function rule(height, label) {
  return [
    svg("line", { class: "chart-grid", x1: LEFT, x2: WIDTH, y1: height, y2: height }),
    svg("text", { x: LEFT - 6, y: height + 4, "text-anchor": "end" }, label),
  ];
}

function caption(at, anchor, text) {
  return svg("text", { x: at, y: HEIGHT - 3, "text-anchor": anchor }, text);
}

function drawn(points, index, x, y) {
  const known = points.filter((point) => point.value !== null);
  if (known.length === 0) return null;
  const path = known.map((point, at) => `${at ? "L" : "M"}${x(point.atMs).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  const end = `L${x(known.at(-1).atMs).toFixed(1)} ${y(0)}L${x(known[0].atMs).toFixed(1)} ${y(0)}Z`;
  return [
    index === 0 && svg("path", { class: `chart-area series-1`, d: path + end }),
    svg("path", { class: `chart-line series-${index + 1}`, d: path }),
  ];
}
