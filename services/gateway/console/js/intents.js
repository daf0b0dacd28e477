/**
 * @file One idempotency key for each thing that somebody wants. Whoever presses the button again because nothing came
 * back, or whose page was loaded again in the middle, sends the same key: so it happens once.
 */

const PREFIX = "tradeflow-intent:";

/**
 * Returns the key of an intent: the same one until it is settled or wants something else.
 * @param {string} name What is wanted, for example `cancel-order 0198…`.
 * @param {unknown} content All that decides what happens.
 */
export function keyOf(name, content) {
  const wanted = JSON.stringify(content);
  const kept = JSON.parse(sessionStorage.getItem(PREFIX + name) ?? "null");
  if (kept !== null && kept.wanted === wanted) return kept.key;
  const key = randomId();
  sessionStorage.setItem(PREFIX + name, JSON.stringify({ wanted, key }));
  return key;
}

/** Says that an intent has its answer, whatever that is. @param {string} name */
export function settle(name) {
  sessionStorage.removeItem(PREFIX + name);
}

/** Forgets all intents: who had them signs out. */
export function forgetIntents() {
  for (const name of Object.keys(sessionStorage)) if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
}

/** 128 random bits. `crypto.randomUUID` wants HTTPS, which a machine at home may not have. */
export function randomId() {
  return hex(16);
}

/** @param {number} bytes */
export function hex(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
