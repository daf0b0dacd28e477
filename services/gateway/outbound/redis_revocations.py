"""Revoked access tokens, shared by all replicas until the tokens would have ended by themselves.

A marker tells whether the cache is complete: it goes when Redis is emptied, and once a minute by itself, so that a
revocation that could not be written here is heard of from the durable list all the same.
"""

from collections.abc import Sequence

from services.gateway.outbound.redis_connection import KEY_PREFIX, RedisConnection
from services.gateway.ports import RevokedToken
from services.runtime.clock import Clock
from services.runtime.signed_claims import LEEWAY_SECONDS

COMPLETE_SECONDS = 60
"""How long the cache is believed to be complete."""

_TAG = "{revoked}"
"""In each key: a token and the marker are asked for together, and so must lie in one slot of a Redis Cluster."""

_MARKER = f"{KEY_PREFIX}{_TAG}:complete"


class RedisRevocations:
    """Fits `RevocationCache`."""

    def __init__(self, redis: RedisConnection, clock: Clock) -> None:
        """Keep revocations there."""
        self._redis = redis
        self._clock = clock

    async def add(self, tokens: Sequence[RevokedToken]) -> None:
        """Remember revocations until their tokens expire.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        now = self._clock.now()
        # Verifiers let a token live on for their leeway.
        lives = [(token.token_id, int((token.expires_at - now).total_seconds()) + LEEWAY_SECONDS) for token in tokens]
        commands = [("SET", _name(token_id), 1, "EX", seconds) for token_id, seconds in lives if seconds > 0]
        if commands:
            await self._redis.pipeline(commands)

    async def mark_complete(self) -> None:
        """Say that the durable list was just copied here.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        await self._redis.command("SET", _MARKER, 1, "EX", COMPLETE_SECONDS)

    async def look_up(self, token_ids: Sequence[str]) -> bool | None:
        """Tell whether any of these is revoked, or None when the cache may have lost entries.

        Raises:
            UnavailableError: Redis can't be reached.
        """
        *revoked, complete = await self._redis.command("MGET", *map(_name, token_ids), _MARKER)
        if any(entry is not None for entry in revoked):
            return True
        return False if complete is not None else None


def _name(token_id: str) -> str:
    return f"{KEY_PREFIX}{_TAG}:token:{token_id}"
