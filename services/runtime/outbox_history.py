"""The events of one key, read backwards along their links: what a client that was away has missed.

Each event names the position of the event of its key before it, so that no index is needed, which would be the dearest
part of writing an event. The reader must know the newest position from elsewhere: the state that the events tell of.
"""

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from services.runtime.database.port import Connection
from services.runtime.outbox_packs import OutboxEvent

HISTORY_EVENTS_MAX = 1_000
"""Events that are read back at most, each up to one look-up by primary key: whoever missed more reloads."""

# The pack that holds an event, if it is kept: the first that ends with it or behind it.
_READ_PACK = """
    SELECT first_sequence, payload FROM outbox WHERE stream = $1 AND sequence >= $2 ORDER BY sequence LIMIT 1
"""

_SPLITTER = Decoder(list[Raw])

_EVENT_DECODER = Decoder(OutboxEvent)


class KeyHistory(Struct, frozen=True, kw_only=True):
    """Events of one key, without a gap, the newest last; complete when none between them and the asked number lacks."""

    events: list[OutboxEvent]
    is_complete: bool


async def read_by_key(
    connection: Connection,
    stream: str,
    key: bytes,
    *,
    newest_position: int,
    after_key_sequence: int,
    events_max: int = HISTORY_EVENTS_MAX,
) -> KeyHistory:
    """Read the events of a key after a number of its own, as far as they are kept.

    Args:
        connection: Whose snapshot also told the newest position.
        stream: Where they are.
        key: Whose they are.
        newest_position: The number of the key's newest event in the stream; 0 when it has none.
        after_key_sequence: The number that the reader has.
        events_max: Where to give up.
    """
    walk = _Walk(connection, stream)
    events: list[OutboxEvent] = []
    position, is_complete = newest_position, newest_position == 0
    while position and not is_complete:
        event = await walk.event_at(position)
        if event is None or event.key != key or (events and event.key_sequence != events[-1].key_sequence - 1):
            break
        is_complete = event.key_sequence <= after_key_sequence + 1
        if event.key_sequence > after_key_sequence:
            if len(events) == events_max:
                return KeyHistory(events=events[::-1], is_complete=False)
            events.append(event)
        position = event.previous_position
    return KeyHistory(events=events[::-1], is_complete=is_complete)


class _Walk:
    """Keeps the last pack, where the event before is often found too."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream.encode()
        self._first_sequence = 0
        self._events: list[Raw] = []

    async def event_at(self, position: int) -> OutboxEvent | None:
        """Read one event; None when it isn't kept."""
        if not 0 <= position - self._first_sequence < len(self._events):
            rows = await self._connection.fetch(_READ_PACK, self._stream, position)
            if not rows or rows[0][0] > position:
                return None
            self._first_sequence, self._events = rows[0][0], _SPLITTER.decode(rows[0][1])
            if position - self._first_sequence >= len(self._events):
                return None
        return _EVENT_DECODER.decode(self._events[position - self._first_sequence])
