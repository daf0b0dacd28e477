"""Events that are written with the state they tell of, in the same transaction.

A stream numbers its events without a gap, in the order of their commits: whoever appends
holds a lock on the number until the commit, so that no event becomes visible after one with a higher number. The tables
are the services' own, by their migrations: `outbox`, and `outbox_streams` for those who use `append_numbered`.
"""

from collections.abc import Sequence

from services.runtime.database.port import CommitWrites, Connection
from services.runtime.outbox_packs import OutboxEvent, pack_rows

# Writes packs. The caller's transaction holds the lock on the stream's number.
_INSERT = """
    INSERT INTO outbox (stream, sequence, first_sequence, recorded_at, payload) VALUES ($1, $2, $3, $4, $5)
"""

# Takes numbers; locks the stream's row until the commit.
_ADVANCE = "UPDATE outbox_streams SET last_sequence = last_sequence + $1 WHERE stream = $2"

# Begins a stream; two that begin it at once are fine.
_BEGIN = "INSERT INTO outbox_streams (stream, last_sequence) VALUES ($1, 0) ON CONFLICT (stream) DO NOTHING"

# Reads what this transaction's own `_ADVANCE` made of it.
_READ_LAST = "SELECT last_sequence FROM outbox_streams WHERE stream = $1"


async def append(connection: CommitWrites, stream: str, events: Sequence[OutboxEvent], *, first_sequence: int) -> None:
    """Write events whose numbers the caller took from a row that its transaction has locked.

    They are written at the transaction's end where the engine can, so an error may come from there.

    Args:
        connection: The transaction that writes the state too.
        stream: Whose numbers they are.
        events: In order.
        first_sequence: The first event's number; the others follow.
    """
    if events:
        await connection.write_at_commit(_INSERT, pack_rows(stream, events, first_sequence=first_sequence))


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
