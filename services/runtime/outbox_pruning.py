"""Forgetting events that were published and are old: until then they are the history that clients resume from."""

from datetime import datetime

from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Database

# Up to where the stream is published.
_READ_CURSOR = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"

# The oldest of the published events.
_READ_OLDEST = """
    SELECT sequence, recorded_at FROM outbox WHERE stream = $1 AND sequence <= $2 ORDER BY sequence LIMIT $3
"""

# Deletes the oldest events; locks a range of the primary key.
_DELETE_OLDEST = "DELETE FROM outbox WHERE stream = $1 AND sequence <= $2"


async def prune_step(database: Database, stream: str, *, recorded_before: datetime, events_max: int) -> int:
    """Delete the oldest published events in one short transaction; return how many, less than the most at the end."""
    name = stream.encode()
    async with database.transaction() as connection:
        last_sequence = await _last_to_delete(connection, name, to_micros(recorded_before), events_max)
        if last_sequence is None:
            return 0
        return await connection.execute(_DELETE_OLDEST, name, last_sequence)


async def _last_to_delete(connection: Connection, stream: bytes, before_micros: int, events_max: int) -> int | None:
    cursor = await connection.fetch(_READ_CURSOR, stream)
    if not cursor:
        return None
    last_sequence: int | None = None
    # Numbers and instants rise together but for clocks that were set back: stop at the first event that stays.
    for sequence, recorded_at_micros in await connection.fetch(_READ_OLDEST, stream, cursor[0][0], events_max):
        if recorded_at_micros >= before_micros:
            break
        last_sequence = sequence
    return last_sequence
