"""Recent wallet events in Redis: a sorted set for each wallet, scored by the event's sequence.

All replicas read all events and all write them; the same event is the same member, so a repeated write changes nothing.
A ledger that was restored to an earlier moment gives numbers again that it had given. The ledger's time never goes
back, so of two events that don't fit each other the one that was recorded later tells what is true, whichever replica
writes first.
"""

from collections import defaultdict
from collections.abc import Sequence

from services.gateway.outbound.redis_connection import KEY_PREFIX, Argument, RedisConnection, Script
from services.gateway.ports import HistoryPage, WalletNotice

EVENTS_MAX = 256
"""Kept for each wallet: a phone that was away for a tunnel, at about 300 bytes an event."""

LIFETIME_SECONDS = 24 * 3600
"""A wallet without events for a day leaves Redis; its owner's return costs one question to the ledger."""

APPEND = Script("""
local function recorded_at(members) return tonumber(string.match(members[1], '^%d+')) end
for i = 3, #ARGV, 2 do
  local sequence, member = ARGV[i], ARGV[i + 1]
  local below = redis.call('ZREVRANGEBYSCORE', KEYS[1], sequence, '-inf', 'LIMIT', 0, 1)
  local above = redis.call('ZRANGEBYSCORE', KEYS[1], sequence, '+inf', 'LIMIT', 0, 1)
  local at = recorded_at({member})
  if #below == 0 or recorded_at(below) <= at then
    if #above > 0 and recorded_at(above) < at then redis.call('DEL', KEYS[1]) end
    redis.call('ZADD', KEYS[1], sequence, member)
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
""")
"""Remembers a wallet's events. KEYS: its history; ARGV: how many are kept, for how many seconds, and then the sequence
and the member of each event.

An event that was recorded after one of its own or a higher number shows that all that is here may be lost: it begins
the history anew. One that was recorded before an event of its own or a lower number is of what was lost, and is late.
"""


class RedisWalletHistory:
    """Fits `WalletHistory`."""

    def __init__(
        self, redis: RedisConnection, *, events_max: int = EVENTS_MAX, lifetime_seconds: int = LIFETIME_SECONDS
    ) -> None:
        """Keep `events_max` events a wallet."""
        self._redis = redis
        self._events_max = events_max
        self._lifetime_seconds = lifetime_seconds

    async def append(self, notices: Sequence[WalletNotice]) -> None:
        """Remember events.

        Raises:
            UnavailableError: Perhaps none were remembered.
        """
        wallets: defaultdict[str, list[WalletNotice]] = defaultdict(list)
        for notice in notices:
            wallets[notice.wallet_id].append(notice)
        if wallets:
            await self._redis.scripts(
                APPEND, [(_name(wallet_id), self._arguments(news)) for wallet_id, news in wallets.items()]
            )

    async def read(self, wallet_id: str, *, after_sequence: int | None) -> HistoryPage:
        """Return what is remembered after a sequence; without one, only the newest event.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        name = _name(wallet_id)
        commands: list[Sequence[Argument]] = [("ZRANGE", name, -1, -1, "WITHSCORES")]
        if after_sequence is not None:
            commands.append(("ZRANGEBYSCORE", name, f"({after_sequence}", "+inf", "WITHSCORES"))
        newest, *found = await self._redis.pipeline(commands, atomic=len(commands) > 1)
        return HistoryPage(
            newest=next(iter(_notices(wallet_id, newest)), None),
            notices=tuple(notice for reply in found for notice in _notices(wallet_id, reply)),
        )

    async def forget(self, wallet_id: str) -> None:
        """Forget a wallet.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        await self._redis.command("DEL", _name(wallet_id))

    def _arguments(self, news: Sequence[WalletNotice]) -> list[Argument]:
        kept = news[-self._events_max :]
        events = [part for notice in kept for part in (notice.sequence, _member(notice))]
        return [self._events_max, self._lifetime_seconds, *events]


def _name(wallet_id: str) -> str:
    return f"{KEY_PREFIX}events:{{{wallet_id}}}"


def _member(notice: WalletNotice) -> bytes:
    return b"%d:%b" % (notice.recorded_at_micros, notice.payload)


def _notices(wallet_id: str, reply: list[bytes]) -> list[WalletNotice]:
    """Read members, each followed by its score."""
    notices = []
    for member, score in zip(reply[::2], reply[1::2], strict=True):
        recorded_at_micros, _, payload = member.partition(b":")
        notices.append(
            WalletNotice(
                wallet_id=wallet_id,
                sequence=int(float(score)),
                recorded_at_micros=int(recorded_at_micros),
                payload=payload,
            )
        )
    return notices
