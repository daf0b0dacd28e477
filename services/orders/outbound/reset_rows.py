"""Password resets in a transaction."""

from datetime import datetime
from typing import Final
from uuid import UUID

from services.runtime.clock import to_micros
from services.runtime.database.port import Connection

_ADD: Final = "INSERT INTO password_resets (token_hash, user_id, expires_at) VALUES ($1, $2, $3)"

_FIND: Final = "SELECT user_id FROM password_resets WHERE token_hash = $1 AND expires_at > $2"

# Locks the row, so that of two uses of one token the second finds nothing.
_TAKE: Final = "DELETE FROM password_resets WHERE token_hash = $1 AND expires_at > $2"

_FORGET_OF_USER: Final = "DELETE FROM password_resets WHERE user_id = $1"

# The first that expired, by the index on it.
_EXPIRED: Final = "SELECT token_hash FROM password_resets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"

_FORGET: Final = "DELETE FROM password_resets WHERE token_hash = $1"


class SqlResetRows:
    """Fits `ResetRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def add(self, token_hash: bytes, user_id: UUID, expires_at: datetime) -> None:
        """Write a new token."""
        await self._connection.execute(_ADD, token_hash, user_id, to_micros(expires_at))

    async def find(self, token_hash: bytes, now: datetime) -> UUID | None:
        """Tell whose token it is, while it is good."""
        rows = await self._connection.fetch(_FIND, token_hash, to_micros(now))
        return rows[0][0] if rows else None

    async def take(self, token_hash: bytes, now: datetime) -> bool:
        """Use a token up, and say whether it was still there and good."""
        return await self._connection.execute(_TAKE, token_hash, to_micros(now)) == 1

    async def forget_of(self, user_id: UUID) -> None:
        """Delete all of a user's."""
        await self._connection.execute(_FORGET_OF_USER, user_id)

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete the first of those that have expired; return how many."""
        expired = await self._connection.fetch(_EXPIRED, to_micros(now), rows_max)
        await self._connection.write_at_commit(_FORGET, expired)
        return len(expired)
