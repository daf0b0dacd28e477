/**
 * @file One idempotency key for each thing that somebody wants. Whoever presses the button again because nothing came
 * back, or whose page was loaded again in the middle, sends the same key: so it happens once.
 */

const PREFIX = "tradeflow-intent:";

/** Intents of one name that wait for their answers; of more, the oldest is forgotten. */
const INTENTS_MAX = 32;

/**
 * Returns the key of an intent: the same one until it is settled, whatever else is wanted meanwhile.
 * @param {string} name What is wanted, for example `cancel-order 0198…`.
 * @param {unknown} content All that decides what happens.
 */
export function keyOf(name, content) {
  const wanted = JSON.stringify(content);
  const kept = intentsOf(name);
  const known = kept.find((intent) => intent.wanted === wanted);
  if (known) return known.key;
  const key = randomId();
  keep(name, [...kept, { wanted, key }].slice(-INTENTS_MAX));
  return key;
}

/**
 * Says that an intent has its answer, whatever that is. Others of its name may still wait for theirs.
 * @param {string} name
 * @param {unknown} content
 */
export function settle(name, content) {
  const wanted = JSON.stringify(content);
  keep(name, intentsOf(name).filter((intent) => intent.wanted !== wanted));
}

/** @param {string} name @returns {{wanted: string, key: string}[]} The oldest first; a page of an older release kept one alone. */
function intentsOf(name) {
  return [JSON.parse(sessionStorage.getItem(PREFIX + name) ?? "[]")].flat();
}

function keep(name, intents) {
  if (intents.length === 0) sessionStorage.removeItem(PREFIX + name);
  else sessionStorage.setItem(PREFIX + name, JSON.stringify(intents));
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
