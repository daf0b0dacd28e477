/** @file What may be asked for many times a second, and is done once in a while. */

/**
 * Acts at once when it is asked to, and then no sooner than so long after the last time; the last word always counts.
 * @param {() => void} act
 * @param {number} pauseMs
 * @param {AbortSignal} signal Ends it.
 */
export function spaced(act, pauseMs, signal) {
  let timer = 0;
  let actedAtMs = -Infinity;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    if (timer !== 0 || signal.aborted) return;
    timer = setTimeout(() => {
      timer = 0;
      actedAtMs = performance.now();
      act();
    }, Math.max(0, actedAtMs + pauseMs - performance.now()));
  };
}
