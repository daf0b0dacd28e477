"""Events that are written with the state they tell of, in the same transaction.

A stream numbers its events without a gap, in the order of their commits: whoever appends
holds a lock on the number until the commit, so that no event becomes visible after one with a higher number. The tables
are the services' own, by their migrations: `outbox`, and `outbox_streams` for those who use `append_numbered`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.runtime.broker.port import Message
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, Row

COLUMNS = "sequence, topic, message_key, key_sequence, event_id, event_type, payload, traceparent, recorded_at"
"""Columns of a row of `outbox` that `event_of_row` takes, in its order."""

# Writes events. The caller's transaction holds the lock on the stream's number.
_INSERT = """
    INSERT INTO outbox (stream, sequence, topic, message_key, key_sequence, event_id, event_type, payload, traceparent,
        recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

# Takes numbers; locks the stream's row until the commit.
_ADVANCE = "UPDATE outbox_streams SET last_sequence = last_sequence + $1 WHERE stream = $2"

# Begins a stream; two that begin it at once are fine.
_BEGIN = "INSERT INTO outbox_streams (stream, last_sequence) VALUES ($1, 0) ON CONFLICT (stream) DO NOTHING"

# Reads what this transaction's own `_ADVANCE` made of it.
_READ_LAST = "SELECT last_sequence FROM outbox_streams WHERE stream = $1"

# Continues the history of one key; `outbox_by_key` serves it.
_READ_BY_KEY = f"""
    SELECT {COLUMNS} FROM outbox
    WHERE stream = $1 AND message_key = $2 AND key_sequence > $3
    ORDER BY key_sequence
    LIMIT $4
"""  # noqa: S608 - the columns are a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """An event on its way to a topic.

    `key_sequence` is its number among the events of its key, for streams that clients resume by key.
    """

    topic: str
    key: bytes
    key_sequence: int = 0
    event_id: UUID
    event_type: str
    payload: bytes
    traceparent: str = ""
    recorded_at: datetime

    def to_message(self) -> Message:
        """Make what is published."""
        headers = {"event-id": str(self.event_id), "event-type": self.event_type}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return Message(topic=self.topic, key=self.key, value=self.payload, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent(OutboxEvent):
    """An event of the outbox and its number in the stream."""

    sequence: int


async def append(connection: Connection, stream: str, events: Sequence[OutboxEvent], *, first_sequence: int) -> None:
    """Write events whose numbers the caller took from a row that its transaction has locked.

    Args:
        connection: The transaction that writes the state too.
        stream: Whose numbers they are.
        events: In order.
        first_sequence: The first event's number; the others follow.
    """
    name = stream.encode()
    await connection.execute_many(
        _INSERT, [_row(name, sequence, event) for sequence, event in enumerate(events, start=first_sequence)]
    )


async def append_numbered(connection: Connection, stream: str, events: Sequence[OutboxEvent]) -> int:
    """Number events and write them; return the number of the last, or 0 without events.

    Call it last in a transaction: it locks the stream until the commit, and all other writers of the stream wait.
    """
    if not events:
        return 0
    name = stream.encode()
    if not await connection.execute(_ADVANCE, len(events), name):
        await connection.execute(_BEGIN, name)
        await connection.execute(_ADVANCE, len(events), name)
    ((last_sequence,),) = await connection.fetch(_READ_LAST, name)
    await append(connection, stream, events, first_sequence=last_sequence - len(events) + 1)
    return int(last_sequence)


async def read_by_key(
    connection: Connection, stream: str, key: bytes, *, after_key_sequence: int, events_max: int
) -> list[StoredEvent]:
    """Read the events of one key after a number of its own, oldest first, as far as they are kept."""
    rows = await connection.fetch(_READ_BY_KEY, stream.encode(), key, after_key_sequence, events_max)
    return [event_of_row(row) for row in rows]


def event_of_row(row: Row) -> StoredEvent:
    """Make an event of the values of `COLUMNS`."""
    sequence, topic, key, key_sequence, event_id, event_type, payload, traceparent, recorded_at = row
    return StoredEvent(
        sequence=sequence,
        topic=topic.decode(),
        key=key,
        key_sequence=key_sequence,
        event_id=UUID(bytes=event_id),
        event_type=event_type.decode(),
        payload=payload,
        traceparent=traceparent.decode(),
        recorded_at=from_micros(recorded_at),
    )


def _row(stream: bytes, sequence: int, event: OutboxEvent) -> tuple[object, ...]:
    return (
        stream,
        sequence,
        event.topic.encode(),
        event.key,
        event.key_sequence,
        event.event_id.bytes,
        event.event_type.encode(),
        event.payload,
        event.traceparent.encode(),
        to_micros(event.recorded_at),
    )
