/** @file How long to wait before trying again: longer each time, never the same for two clients, never for ever. */

export const FIRST_MS = 400;
export const LONGEST_MS = 15_000;

/**
 * @param {number} attempt From 1.
 * @param {() => number} [random] From 0 to 1.
 */
export function pauseMs(attempt, random = Math.random) {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return Math.round(longest / 2 + (longest / 2) * random());
}

/**
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
