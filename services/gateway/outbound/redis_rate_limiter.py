"""Counts calls in Redis: one script for all quotas of a call, so that replicas agree and a refused call counts nowhere.

Time is Redis's own, so that replicas need not agree on it. All counters have one hash tag, so that a call's quotas, of
a user and of an address, lie in one slot of a Redis Cluster: counting them together is what makes limits exact.
"""

from collections.abc import Sequence

from services.gateway.outbound.redis_connection import KEY_PREFIX, RedisConnection, Script
from services.gateway.rate_policies import Quota, QuotaState

TAKE = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local answers, starts, allowed = {}, {}, 1
for i, key in ipairs(KEYS) do
  local interval, limit = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local start = math.max(tonumber(redis.call('GET', key) or now), now)
  local window = interval * limit
  if start > now + window then
    start = now + window
    redis.call('SET', key, string.format('%.0f', start), 'PX', string.format('%.0f', math.ceil(window / 1000) + 1))
  end
  starts[i] = start
  if start + interval - now > window and ARGV[3 * i] == '1' then allowed = 0 end
end
for i, key in ipairs(KEYS) do
  local interval, limit = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local busy = starts[i] - now
  local fits = busy + interval <= interval * limit
  if allowed == 1 and fits then
    busy = busy + interval
    redis.call('SET', key, string.format('%.0f', now + busy), 'PX', string.format('%.0f', math.ceil(busy / 1000) + 1))
  end
  local free = math.floor((interval * limit - busy) / interval)
  local wait = 0
  if not fits then wait = busy + interval - interval * limit end
  answers[i] = {fits and 1 or 0, free, busy, wait}
end
return answers
""")
"""Takes one call from each quota, or from none. KEYS: counters; ARGV: interval in microseconds and limit of each,
and 1 where the limit binds or 0 where it is only counted.

A counter holds the instant at which its quota is whole again ("theoretical arrival time"), in microseconds since 1970
(below 2^53, which Lua's numbers hold exactly), and lives until then. Where it was counted by a policy of a
longer window, it becomes a quota of this policy that is used up, and is kept as that: else no call would fit until the
old window is over. Answers {fits, calls left, microseconds until whole, microseconds until one fits} of each quota, as
whole numbers.
"""

GIVE_BACK = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
for i, key in ipairs(KEYS) do
  local interval, limit = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local busy = math.min(tonumber(redis.call('GET', key) or now) - now, interval * limit) - interval
  if busy > 0 then
    redis.call('SET', key, string.format('%.0f', now + busy), 'PX', string.format('%.0f', math.ceil(busy / 1000) + 1))
  else
    redis.call('DEL', key)
  end
end
""")
"""Takes one call out of each count. KEYS: counters; ARGV: interval in microseconds and limit of each."""


class RedisRateLimiter:
    """Takes calls from quotas."""

    def __init__(self, redis: RedisConnection) -> None:
        """Count there."""
        self._redis = redis

    async def take(self, quotas: Sequence[Quota]) -> list[QuotaState]:
        """Take one call from all of these quotas, or from none when one of them is used up.

        Raises:
            UnavailableError: Redis can't be reached; perhaps the call was counted.
        """
        if not quotas:
            return []
        policies = [quota.policy for quota in quotas]
        arguments = [
            number
            for policy in policies
            for number in (policy.interval_micros, policy.limit, 0 if policy.dry_run else 1)
        ]
        answers = await self._redis.script(TAKE, _keys(quotas), arguments)
        return [
            QuotaState(
                quota=quota,
                allowed=bool(fits),
                remaining=max(0, int(free)),
                reset_seconds=int(busy_micros) / 1e6,
                retry_after_seconds=int(wait_micros) / 1e6,
            )
            for quota, (fits, free, busy_micros, wait_micros) in zip(quotas, answers, strict=True)
        ]

    async def give_back(self, quotas: Sequence[Quota]) -> None:
        """Take one call out of each of these counts again.

        Raises:
            UnavailableError: Redis can't be reached; perhaps it stays counted.
        """
        policies = [quota.policy for quota in quotas]
        arguments = [number for policy in policies for number in (policy.interval_micros, policy.limit)]
        await self._redis.script(GIVE_BACK, _keys(quotas), arguments)


def _keys(quotas: Sequence[Quota]) -> list[str]:
    return [f"{KEY_PREFIX}{{rate}}:{quota.name}" for quota in quotas]
