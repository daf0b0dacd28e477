"""Where the journal stood at an instant: found by narrowing down on primary keys, since time rises with the sequence.

Records are numbered without gaps and `recorded_at` rises with their number, and so does the record of an account's
postings with the posting's own number. So no index on time is needed: a few looks at a few rows each.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.runtime.database.port import Connection

PROBES_MAX = 31
"""Rows looked at in one statement: a billion records take six."""

TIMES_OF_RECORDS = "SELECT sequence, recorded_at FROM records WHERE book_id = $1 AND sequence IN ($in)"
"""When some records were recorded, by primary key. Locks nothing."""

SEQUENCES_OF_POSTINGS = """
SELECT account_sequence, sequence FROM postings WHERE book_id = $1 AND account_id = $2 AND account_sequence IN ($in)
"""
"""Which records some postings of an account belong to, by the index on it. Locks nothing."""


class _Look(Protocol):
    async def __call__(self, numbers: Sequence[int], /) -> Mapping[int, int]:
        """Read the values of some numbers."""
        ...


async def sequence_at(connection: Connection, book_id: int, last_sequence: int, instant_micros: int) -> int:
    """Tell the newest record that was recorded up to an instant (microseconds), inclusive; 0 before the first."""

    async def recorded_at(sequences: Sequence[int], /) -> Mapping[int, int]:
        rows = await connection.fetch_in(TIMES_OF_RECORDS, sequences, book_id)
        return {row[0]: row[1] for row in rows}

    return await _last_up_to(instant_micros, last_sequence, recorded_at)


async def account_sequence_at(
    connection: Connection, book_id: int, account_id: int, last_account_sequence: int, sequence: int
) -> int:
    """Tell the newest posting of an account up to a record, inclusive; 0 before the first."""

    async def sequences(account_sequences: Sequence[int], /) -> Mapping[int, int]:
        rows = await connection.fetch_in(SEQUENCES_OF_POSTINGS, account_sequences, book_id, account_id)
        return {row[0]: row[1] for row in rows}

    return await _last_up_to(sequence, last_account_sequence, sequences)


async def _last_up_to(bound: int, last: int, look: _Look) -> int:
    """Find the largest of the numbers 1 to `last` whose value is at most `bound`; values rise with the numbers."""
    low, high = 0, last
    while low < high:
        span = high - low
        count = min(PROBES_MAX, span)
        probes = [low + span * place // count for place in range(1, count + 1)]
        values = await look(probes)
        for probe in probes:
            value = values.get(probe)
            if value is None or value > bound:
                high = probe - 1
                break
            low = probe
    return low
