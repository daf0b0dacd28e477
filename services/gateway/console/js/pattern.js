/** @file A picture for a product that has none: always the same one for the same code. */

import { svg } from "./dom.js";

const COLUMNS = 6;
const ROWS = 3;
const SIZE = 40;
const TINTS = 6;

/** @param {string} code */
export function pattern(code) {
  const random = randomOf(code);
  const tint = Math.floor(random() * TINTS);
  const cells = Array.from({ length: COLUMNS * ROWS }, (_, index) => cell(index, random));
  return svg("svg", { class: `product-picture tint-${tint}`, viewBox: `0 0 ${COLUMNS * SIZE} ${ROWS * SIZE}`, preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("rect", { class: "pattern-ground", width: "100%", height: "100%" }), cells);
}

function cell(index, random) {
  const x = (index % COLUMNS) * SIZE;
  const y = Math.floor(index / COLUMNS) * SIZE;
  const kind = Math.floor(random() * 6);
  const faint = random() > 0.5 ? " faint" : "";
  const shape = (d) => svg("path", { class: `pattern-shape${faint}`, d });
  switch (kind) {
    case 0: return shape(`M${x} ${y}h${SIZE}a${SIZE} ${SIZE} 0 0 1-${SIZE} ${SIZE}Z`);
    case 1: return shape(`M${x + SIZE} ${y + SIZE}h-${SIZE}a${SIZE} ${SIZE} 0 0 1 ${SIZE}-${SIZE}Z`);
    case 2: return svg("circle", { class: `pattern-shape${faint}`, cx: x + SIZE / 2, cy: y + SIZE / 2, r: SIZE / 3.2 });
    case 3: return shape(`M${x} ${y + SIZE}L${x + SIZE} ${y + SIZE}L${x + SIZE} ${y}Z`);
    default: return null;
  }
}

/** A stream of numbers from 0 to 1 that a text decides. */
function randomOf(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ letter.charCodeAt(0), 16777619);
  return () => {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 374761393;
    return ((state ^ (state >>> 13)) >>> 0) / 4294967296;
  };
}
