/** @file Numbers over time, from counters that are looked at again and again. Pure. */

/** @typedef {{count: number, failed: number, buckets: [number, number][]}} Latency */

/**
 * Tells how much a counter grew in a second. One that fell began anew with its process: what it has, it grew.
 * @param {number} before @param {number} after @param {number} seconds
 */
export function rate(before, after, seconds) {
  if (seconds <= 0) return 0;
  return (after >= before ? after - before : after) / seconds;
}

/**
 * Takes one look at a histogram from a later one.
 * @param {Latency} before @param {Latency} after @returns {Latency}
 */
export function since(before, after) {
  if (after.count < before.count) return after;
  const earlier = new Map(before.buckets);
  return {
    count: after.count - before.count,
    failed: after.failed - before.failed,
    buckets: after.buckets.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]),
  };
}

/**
 * Estimates below how many seconds a share of all lie, as Prometheus does: evenly spread inside of a bucket.
 * @param {Latency} latency @param {number} share From 0 to 1.
 * @returns {number|null} null when there are none.
 */
export function quantile(latency, share) {
  if (latency.count === 0) return null;
  const rank = share * latency.count;
  let lower = 0;
  let below = 0;
  for (const [bound, count] of latency.buckets) {
    if (count >= rank) return count === below ? bound : lower + (bound - lower) * ((rank - below) / (count - below));
    lower = bound;
    below = count;
  }
  return lower;
}

/**
 * Chooses a round number to end an axis with.
 * @param {number} largest
 */
export function niceCeiling(largest) {
  if (!(largest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= largest * 0.9999) ?? 10;
  return step * power;
}
