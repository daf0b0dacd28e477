"""Recent wallet events in Redis: a sorted set for each wallet, scored by the event's sequence.

All replicas read all events and all write them; the same event is the same member, so a repeated write changes nothing.
"""

from collections import defaultdict
from collections.abc import Sequence

from services.gateway.outbound.redis_connection import KEY_PREFIX, Argument, RedisConnection
from services.gateway.ports import HistoryPage, WalletNotice

EVENTS_MAX = 256
"""Kept for each wallet: a phone that was away for a tunnel, at about 300 bytes an event."""

LIFETIME_SECONDS = 24 * 3600
"""A wallet without events for a day leaves Redis; its owner's return costs one question to the ledger."""


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
        commands: list[Sequence[Argument]] = []
        for wallet_id, news in wallets.items():
            name = _name(wallet_id)
            members = [part for notice in news[-self._events_max :] for part in (notice.sequence, notice.payload)]
            commands += [
                ("ZADD", name, *members),
                ("ZREMRANGEBYRANK", name, 0, -self._events_max - 1),
                ("EXPIRE", name, self._lifetime_seconds),
            ]
        if commands:
            await self._redis.pipeline(commands)

    async def read(self, wallet_id: str, *, after_sequence: int | None) -> HistoryPage:
        """Return what is remembered after a sequence; without one, only the newest sequence.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        name = _name(wallet_id)
        newest: Sequence[Argument] = ("ZRANGE", name, -1, -1, "WITHSCORES")
        if after_sequence is None:
            (last,) = await self._redis.pipeline([newest])
            return HistoryPage(newest_sequence=_newest(last), notices=())
        last, found = await self._redis.pipeline(
            [newest, ("ZRANGEBYSCORE", name, f"({after_sequence}", "+inf", "WITHSCORES")], atomic=True
        )
        notices = tuple(
            WalletNotice(wallet_id=wallet_id, sequence=int(score), payload=payload) for payload, score in _pairs(found)
        )
        return HistoryPage(newest_sequence=_newest(last), notices=notices)


def _name(wallet_id: str) -> str:
    return f"{KEY_PREFIX}history:{{{wallet_id}}}"


def _pairs(reply: list[bytes]) -> list[tuple[bytes, float]]:
    return [(reply[index], float(reply[index + 1])) for index in range(0, len(reply), 2)]


def _newest(reply: list[bytes]) -> int:
    return max((int(score) for _, score in _pairs(reply)), default=0)
