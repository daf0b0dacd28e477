"""How an outbox stands: what waits, for how long, and who publishes it. Only reads."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.runtime.clock import from_micros, from_micros_or_none
from services.runtime.database.port import Connection, Database
from services.runtime.outbox_packs import OutboxEvent, read_packs

# The next stream that has events, by the primary key.
_NEXT_STREAM = "SELECT MIN(stream) FROM outbox WHERE stream > $1"

# The streams that a relay has published from.
_RELAYED = "SELECT stream FROM outbox_relays ORDER BY stream"

_RELAY = """
    SELECT cursor_sequence, lease_holder, lease_expires_at, fencing_token FROM outbox_relays WHERE stream = $1
"""

_ROWS = "SELECT COUNT(*), MIN(recorded_at), MAX(sequence) FROM outbox WHERE stream = $1"

_FIRST_WAITING = """
    SELECT first_sequence, recorded_at FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT 1
"""

EVENTS_A_PAGE = 256
"""Events read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One stream; instants are None where there is nothing to tell."""

    stream: str
    last_sequence: int
    cursor_sequence: int
    """The last event that is published for certain; a relay at work may be a little further."""
    lag_events: int
    waiting_since: datetime | None
    rows: int
    """Packs that are kept, published ones included."""
    oldest_at: datetime | None
    lease_holder: UUID | None
    lease_expires_at: datetime | None
    fencing_token: int


async def outbox_status(database: Database) -> list[StreamStatus]:
    """Tell how each stream stands, all from one state of the database."""
    async with database.snapshot() as connection:
        return [await _status_of(connection, stream) for stream in await _streams(connection)]


async def events_after(
    database: Database, stream: str, *, after_sequence: int
) -> AsyncIterator[tuple[int, OutboxEvent]]:
    """Read the events that are kept behind a number, with their own numbers, a page at a time.

    Raises:
        DamagedPackError: What is there can't be read.
    """
    while True:
        async with database.snapshot() as connection:
            packs = await read_packs(connection, stream, after_sequence=after_sequence, events_max=EVENTS_A_PAGE)
        for pack in packs:
            for sequence, event in enumerate(pack.events, start=pack.first_sequence):
                if sequence > after_sequence:
                    yield sequence, event
        if not packs:
            return
        after_sequence = packs[-1].sequence


async def _streams(connection: Connection) -> list[bytes]:
    found = {bytes(stream) for (stream,) in await connection.fetch(_RELAYED)}
    last = b""
    while True:
        ((following,),) = await connection.fetch(_NEXT_STREAM, last)
        if following is None:
            return sorted(found)
        last = bytes(following)
        found.add(last)


async def _status_of(connection: Connection, stream: bytes) -> StreamStatus:
    relays = await connection.fetch(_RELAY, stream)
    cursor_sequence, holder, expires_micros, fencing_token = relays[0] if relays else (0, bytes(16), 0, 0)
    ((rows, oldest_micros, last_sequence),) = await connection.fetch(_ROWS, stream)
    waiting = await connection.fetch(_FIRST_WAITING, stream, cursor_sequence)
    first_waiting = max(waiting[0][0], cursor_sequence + 1) if waiting else 0
    return StreamStatus(
        stream=stream.decode(),
        last_sequence=last_sequence or cursor_sequence,
        cursor_sequence=cursor_sequence,
        lag_events=last_sequence - first_waiting + 1 if waiting else 0,
        waiting_since=from_micros(waiting[0][1]) if waiting else None,
        rows=rows,
        oldest_at=from_micros_or_none(oldest_micros),
        lease_holder=UUID(bytes=bytes(holder)) if any(holder) else None,
        lease_expires_at=from_micros(expires_micros) if expires_micros else None,
        fencing_token=fencing_token,
    )
