"""How events lie in the outbox: many in one row, since a row costs the server far more than its bytes do.

A pack is a MessagePack array of events, each an array of the fields of `OutboxEvent` in their order. A new field goes
to the end and has a default, so that older packs can be read. The row's `sequence` is the number of its last event.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.runtime.broker.port import Message
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Row
from services.runtime.ids import id_text

PACK_EVENTS_MAX = 64
"""Events of one pack: a row's cost is spread far enough, and reading one event of it stays cheap."""

PACK_BYTES_MAX = 48 * 1024
"""Bytes of one pack: a few pages of the table. An event that is larger is a pack of its own."""

# The next packs, at least one: those that end less than $3 events behind the end of the first. Numbers have no gap, so
# that this bounds events as well as rows.
_READ_NEXT = """
    SELECT sequence, first_sequence, payload FROM outbox
    WHERE stream = $1 AND sequence > $2
        AND sequence < (SELECT MIN(sequence) FROM outbox WHERE stream = $1 AND sequence > $2) + $3
    ORDER BY sequence
"""


class OutboxEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An event on its way to a topic.

    `key_sequence` is its number among the events of its key, and `previous_position` the stream's number of the event
    of its key before it, 0 for the first: for streams that clients resume by key.
    """

    topic: str
    key: bytes
    key_sequence: int = 0
    previous_position: int = 0
    event_id: UUID
    event_type: str
    traceparent: str = ""
    recorded_at: datetime
    payload: bytes

    def to_message(self, value: bytes | None = None) -> Message:
        """Make what is published: the payload, or `value` where the outbox keeps another form of it."""
        headers = {"event-id": id_text(self.event_id), "event-type": self.event_type}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return Message(topic=self.topic, key=self.key, value=self.payload if value is None else value, headers=headers)


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """Events that lie in one row, in order; `sequence` is the last one's number."""

    sequence: int
    first_sequence: int
    events: list[OutboxEvent]


class DamagedPackError(Exception):
    """A row of the outbox doesn't hold the events that it should."""


_ENCODER = msgspec.msgpack.Encoder(uuid_format="bytes")

_DECODER = msgspec.msgpack.Decoder(list[OutboxEvent])


def pack_rows(
    stream: str, events: Sequence[OutboxEvent], *, first_sequence: int
) -> list[tuple[bytes, int, int, int, bytes]]:
    """Make the rows (stream, sequence, first_sequence, recorded_at, payload) of events in order."""
    name, rows = stream.encode(), []
    for first in range(0, len(events), PACK_EVENTS_MAX):
        for some, payload in _packed(events[first : first + PACK_EVENTS_MAX]):
            last_sequence = first_sequence + len(some) - 1
            rows.append((name, last_sequence, first_sequence, to_micros(some[-1].recorded_at), payload))
            first_sequence = last_sequence + 1
    return rows


def _packed(events: Sequence[OutboxEvent]) -> Iterator[tuple[Sequence[OutboxEvent], bytes]]:
    """Encode events as one pack, or halve them until each pack is small enough."""
    payload = _ENCODER.encode(events)
    if len(payload) <= PACK_BYTES_MAX or len(events) == 1:
        yield events, payload
        return
    middle = len(events) // 2
    yield from _packed(events[:middle])
    yield from _packed(events[middle:])


def pack_of_row(row: Row) -> Pack:
    """Make a pack of a row (sequence, first_sequence, payload).

    Raises:
        DamagedPackError: It doesn't hold events, or not as many as it says.
    """
    sequence, first_sequence, payload = row
    try:
        events = _DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise DamagedPackError(f"the pack that ends with {sequence} can't be read: {error}") from error
    if len(events) != sequence - first_sequence + 1:
        raise DamagedPackError(f"the pack {first_sequence} to {sequence} holds {len(events)} events")
    return Pack(sequence=sequence, first_sequence=first_sequence, events=events)


async def read_packs(connection: Connection, stream: str, *, after_sequence: int, events_max: int) -> list[Pack]:
    """Read the packs that end behind a number, in order: the next one, and more up to `events_max` events behind it.

    Raises:
        DamagedPackError: What is there can't be read.
    """
    rows = await connection.fetch(_READ_NEXT, stream.encode(), after_sequence, events_max)
    return [pack_of_row(row) for row in rows]
