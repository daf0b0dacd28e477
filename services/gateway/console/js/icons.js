/** @file The few pictures that stand beside words. They say nothing that the words don't. */

import { svg } from "./dom.js";

const PATHS = {
  shop: ["M4 9h16l-1 11H5L4 9Z", "M8.500 9V7a3.500 3.500 0 0 1 7 0v2"],
  cart: ["M3 4h2.500l2.200 11h10.300l2-8H6.500", "M9.500 19.500h.01", "M16.500 19.500h.01"],
  orders: ["M6 3h12v18l-3-2-3 2-3-2-3 2V3Z", "M9.500 8h5", "M9.500 12h5"],
  wallet: ["M4 7h15a1 1 0 0 1 1 1v11H5a1 1 0 0 1-1-1V7Zm0 0 11-3.500V7", "M16.500 13h.01"],
  sales: ["M4 20V10", "M10 20V4", "M16 20v-7", "M21 20H3"],
  products: ["M12 3 4 7v10l8 4 8-4V7l-8-4Z", "M4 7l8 4 8-4", "M12 11v10"],
  treasury: ["M4 10 12 4l8 6", "M6 10v8", "M10 10v8", "M14 10v8", "M18 10v8", "M4 20h16"],
  operations: ["M3 12h4l3-7 4 14 3-7h4"],
  person: ["M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z", "M4 20.500c1-4 4-5.500 8-5.500s7 1.500 8 5.500"],
  theme: ["M12 4a8 8 0 1 0 0 16V4Z", "M12 4a8 8 0 0 1 0 16"],
  leave: ["M14 4H5v16h9", "M10 12h11", "M17.500 8.500 21 12l-3.500 3.500"],
  check: ["M5 12.500 10 17l9-10"],
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, PATHS[name].map((d) => svg("path", { d })));
}
