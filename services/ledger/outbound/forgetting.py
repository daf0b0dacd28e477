"""Write what housekeeping forgets. All of it may travel with the COMMIT, and nothing of it makes a record."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from services.ledger.commands.decision import Decision
from services.ledger.domain.keys import RecordedKey
from services.ledger.outbound.equal_parts import equal_parts
from services.ledger.outbound.stored_rows import pruned_row
from services.runtime.clock import to_micros
from services.runtime.database.port import CommitWrites

EXPIRIES_OF_STATEMENT = 32
"""Rows of the queue of expiries that one statement removes."""

# Keys whose answers are forgotten: what stays says so.
_PRUNE_ANSWERS = """
    UPDATE idempotency_keys SET reason = $5, message = $6, details = $7, hold_id = $8, hash = $9
    WHERE book_id = $1 AND service = $2 AND idempotency_key = $3 AND recorded_at = $4
"""

# Keys that go; one that came again meanwhile has another instant.
_FORGET_KEYS = """
    DELETE FROM idempotency_keys WHERE book_id = $1 AND service = $2 AND idempotency_key = $3 AND recorded_at = $4
"""

# Rows that leave the queue: neighbours, so that the range holds few others. A hold has one row.
_FORGET_EXPIRIES = f"""
    DELETE FROM hold_expiries WHERE book_id = $1 AND expires_at >= $2 AND expires_at <= $3
        AND hold_id IN ({", ".join(f"${number}" for number in range(4, 4 + EXPIRIES_OF_STATEMENT))})
"""  # noqa: S608 - placeholders only


async def write_forgetting(connection: CommitWrites, book_id: int, decision: Decision) -> None:
    """Write what a batch forgets. The book's lock is held."""
    write = connection.write_at_commit
    await write(_PRUNE_ANSWERS, [pruned_row(book_id, key) for key in sorted(decision.pruned, key=in_order)])
    forgotten = sorted(decision.forgotten_keys, key=in_order)
    await write(_FORGET_KEYS, [(book_id, *in_order(key), to_micros(key.recorded_at)) for key in forgotten])
    await write(_FORGET_EXPIRIES, list(_ranges(book_id, sorted(decision.forgotten))))


def in_order(key: RecordedKey) -> tuple[bytes, bytes]:
    """Sort keys as their table does."""
    return key.service.encode(), key.idempotency_key.encode()


def _ranges(book_id: int, expiries: Sequence[tuple[datetime, UUID]]) -> Iterator[tuple[int | bytes, ...]]:
    for some in equal_parts(expiries, EXPIRIES_OF_STATEMENT):
        yield book_id, to_micros(some[0][0]), to_micros(some[-1][0]), *[hold_id.bytes for _, hold_id in some]
