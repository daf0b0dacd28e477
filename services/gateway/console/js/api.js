/**
 * @file Calls the public API as the user. What reads is repeated for a while when no clear answer comes; what moves
 * money is repeated too, by its key: it happens once, however often it is sent.
 */

import { pause, pauseMs } from "./backoff.js";
import { hex, keyOf, settle } from "./intents.js";
import { ProblemError, noAnswer } from "./problems.js";
import { problemOf, session } from "./session.js";

const ATTEMPTS_MAX = 4;

/**
 * Reads.
 * @param {string} path
 * @param {Record<string, string|number|undefined|null>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function read(path, query = {}, signal) {
  return json(await answerTo(path, query, signal));
}

/**
 * Reads something that must be kept as it was written.
 * @param {string} path
 * @param {Record<string, string|number|undefined|null>} query
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
export async function readText(path, query, signal) {
  return (await answerTo(path, query, signal)).text().catch(() => { throw noAnswer(); });
}

/**
 * Changes something that may be changed twice without harm.
 * @param {"POST"|"PATCH"|"DELETE"} method
 * @param {string} path
 * @param {any} [body]
 * @param {Record<string, unknown>} [conditions] Sent with the body; services of an older release, which know none, do it without.
 * @returns {Promise<any>}
 */
export async function write(method, path, body, conditions) {
  return json(await conditionally(once, { method, path, body }, conditions));
}

/**
 * Does what must happen once: the same name and body have the same key until there is a clear answer.
 * @param {string} name What is wanted.
 * @param {string} path
 * @param {Record<string, unknown>} [body]
 * @param {Record<string, unknown>} [conditions] Sent with the body, and no part of what is wanted: on other conditions it is
 *   still the same. Services of an older release, which know none, do it without.
 * @returns {Promise<{answer: any, traceId: string}>}
 */
export async function doOnce(name, path, body, conditions) {
  const intent = `${session.user?.user_id} ${name}`;
  const wanted = body ?? null;
  const traceId = hex(16);
  const headers = { "Idempotency-Key": keyOf(intent, wanted), traceparent: `00-${traceId}-${hex(8)}-01` };
  try {
    const answer = await json(await conditionally(persistently, { method: "POST", path, body, headers }, conditions));
    settle(intent, wanted);
    return { answer, traceId };
  } catch (error) {
    if (error instanceof ProblemError && error.isAnswer) settle(intent, wanted);
    throw error;
  }
}

async function conditionally(sent, call, conditions) {
  try {
    return await sent({ ...call, body: conditions ? { ...call.body, ...conditions } : call.body });
  } catch (error) {
    // A body with a field that nobody knows there is refused before its key is looked at.
    const isUnknown = error instanceof ProblemError && error.reason === "validation_failed"
      && Object.keys(conditions ?? {}).some((field) => error.message.includes(`unknown field \`${field}\``));
    if (!isUnknown) throw error;
    return sent(call);
  }
}

function answerTo(path, query, signal) {
  const wanted = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(wanted.map(([name, value]) => [name, String(value)])).toString();
  return persistently({ method: "GET", path: text ? `${path}?${text}` : path, signal });
}

/** @typedef {{method: string, path: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} Call */

/** @param {Call} call */
async function persistently(call) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(call);
    } catch (error) {
      const again = error instanceof ProblemError && (error.isUnclear || error.status === 429) && attempt < ATTEMPTS_MAX;
      if (!again) throw error;
      await pause(Math.max(pauseMs(attempt), Math.min(error.retryAfterSeconds, 5) * 1000), call.signal);
    }
  }
}

/** @param {Call} call */
async function once(call) {
  let answer = await send(call);
  if (answer.status === 401) {
    await session.replaceToken();
    answer = await send(call);
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** @param {Call} call */
async function send({ method, path, body, headers = {}, signal }) {
  const token = await session.accessToken();
  const own = { ...headers, Authorization: `Bearer ${token}` };
  if (body !== undefined) own["Content-Type"] = "application/json";
  const init = { method, headers: own, body: body === undefined ? undefined : JSON.stringify(body), signal };
  return fetch(path, init).catch((error) => { throw signal?.aborted ? error : noAnswer(); });
}

/** @param {Response} answer */
function json(answer) {
  return answer.status === 204 ? null : answer.json().catch(() => { throw noAnswer(); });
}
