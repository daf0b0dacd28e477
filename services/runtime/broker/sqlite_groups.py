"""Which consumer of a group reads a topic, and up to where the group has read.

One consumer at a time holds a group's topic, by a lease that it renews. Offsets are moved by the holder only, so that
one who was paused past its lease can't move them under its successor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.runtime.broker.port import LEASE_LOST_REASON
from services.runtime.broker.sqlite_log import SqliteLog
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.errors import UnavailableError

# Reads a group's place in a topic. Locks nothing by itself.
_READ = "SELECT next_offset, holder, lease_expires_at FROM consumer_groups WHERE group_name = ? AND topic = ?"

# The same inside a transaction, locking the row.
_LOCK = """
    SELECT next_offset, holder, lease_expires_at FROM consumer_groups WHERE group_name = $1 AND topic = $2 FOR UPDATE
"""

# A group that never committed starts at the beginning.
_BEGIN = """
    INSERT INTO consumer_groups (group_name, topic, next_offset, holder, lease_expires_at) VALUES ($1, $2, 0, $3, 0)
    ON CONFLICT (group_name, topic) DO NOTHING
"""

_TAKE = """
    UPDATE consumer_groups SET holder = $1, lease_expires_at = $2 WHERE group_name = $3 AND topic = $4
"""

_RENEW = """
    UPDATE consumer_groups SET lease_expires_at = $1 WHERE group_name = $2 AND topic = $3 AND holder = $4
"""

_COMMIT = """
    UPDATE consumer_groups SET next_offset = $1, lease_expires_at = $2
    WHERE group_name = $3 AND topic = $4 AND holder = $5 AND next_offset <= $1
"""

_RELEASE = "UPDATE consumer_groups SET lease_expires_at = 0 WHERE group_name = $1 AND holder = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to read a topic for a group."""

    group: str
    topic: str
    holder: UUID
    expires_at: datetime


class SqliteGroups:
    """Leases and offsets of the groups of one file."""

    def __init__(self, log: SqliteLog, clock: Clock, lease_seconds: float) -> None:
        """Keep leases of this length."""
        self._log = log
        self._clock = clock
        self._lease_span = timedelta(seconds=lease_seconds)

    def is_valid(self, lease: Lease) -> bool:
        """Tell whether a lease has not ended."""
        return self._clock.now() < lease.expires_at

    def is_free(self, group: str, topic: str, holder: UUID) -> bool:
        """Look whether this holder could take the lease, without locking anything."""
        rows = self._log.look(_READ, (group, topic))
        return not rows or rows[0][1] == holder.bytes or from_micros(rows[0][2]) <= self._clock.now()

    def next_offset(self, group: str, topic: str) -> int:
        """Tell the first offset that the group has not handled, without locking anything."""
        rows = self._log.look(_READ, (group, topic))
        return int(rows[0][0]) if rows else 0

    async def take(self, group: str, topic: str, holder: UUID) -> tuple[Lease, int] | None:
        """Take the lease, and return it with the group's offset; None when another holds it."""
        now = self._clock.now()
        lease = Lease(group=group, topic=topic, holder=holder, expires_at=now + self._lease_span)
        async with self._log.database.transaction() as connection:
            await connection.execute(_BEGIN, group, topic, bytes(16))
            ((next_offset, holder_now, expires_at_micros),) = await connection.fetch(_LOCK, group, topic)
            if holder_now != holder.bytes and from_micros(expires_at_micros) > now:
                return None
            await connection.execute(_TAKE, holder.bytes, to_micros(lease.expires_at), group, topic)
        return lease, next_offset

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Extend leases, and return those that are still held."""
        expires_at = self._clock.now() + self._lease_span
        renewed: list[Lease] = []
        async with self._log.database.transaction() as connection:
            for lease in leases:
                if await connection.execute(
                    _RENEW, to_micros(expires_at), lease.group, lease.topic, lease.holder.bytes
                ):
                    renewed.append(replace(lease, expires_at=expires_at))  # noqa: PERF401 - it reads as what happens
        return renewed

    async def commit(self, group: str, holder: UUID, next_offsets: Mapping[str, int]) -> datetime:
        """Move the group's offsets, which extends the leases; return their new end. Never moves back.

        Raises:
            UnavailableError: Another consumer took over; it gets the messages again. Its reason is
                `LEASE_LOST_REASON`.
        """
        expires_at = self._clock.now() + self._lease_span
        async with self._log.database.transaction() as connection:
            for topic, next_offset in next_offsets.items():
                if await connection.execute(_COMMIT, next_offset, to_micros(expires_at), group, topic, holder.bytes):
                    continue
                rows = await connection.fetch(_LOCK, group, topic)
                if not rows or rows[0][1] != holder.bytes:
                    raise UnavailableError(
                        f"another consumer of {group} has taken over {topic}", reason=LEASE_LOST_REASON
                    )
        return expires_at

    async def release(self, group: str, holder: UUID) -> None:
        """Let the others take over at once."""
        async with self._log.database.transaction() as connection:
            await connection.execute(_RELEASE, group, holder.bytes)
