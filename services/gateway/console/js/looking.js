/** @file Looks at something again and again while its page is shown; less often while nobody sees it. */

const HIDDEN_TIMES = 5;

/**
 * @param {() => Promise<void>} look Shows its own failures.
 * @param {{signal: AbortSignal, pauseMs: number}} options
 * @returns {() => Promise<void>} Looks at once.
 */
export function keepLooking(look, { signal, pauseMs }) {
  let timer = 0;
  const again = async () => {
    clearTimeout(timer);
    await look();
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(again, document.hidden ? pauseMs * HIDDEN_TIMES : pauseMs);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  again();
  return again;
}
