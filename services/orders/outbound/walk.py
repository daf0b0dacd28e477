"""Lists along an index, past what a filter leaves out: a page ends after so many looks, however few of them fit.

Which states a seller's orders are in stands in another table than whose they are, so that no index can pick them out:
who has a million orders, and asks for those in a state that few are in, would read them all for one page.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from services.orders.list_part import Part
from services.runtime.database.port import Row

LOOKED_AT_MAX: Final = 10_000
"""Rows that are looked at for one page: some tens of milliseconds."""

CHUNK_ROWS: Final = 1_000
"""Rows of one read, where the first one didn't fill the page."""

ReadChunk = Callable[[UUID, int], Awaitable[Sequence[Row]]]
"""Reads up to so many rows before an id, the next one first. Their first column is the id."""


async def walk(
    read_chunk: ReadChunk,
    fits: Callable[[Row], bool],
    *,
    before: UUID,
    rows_max: int,
    looked_at_max: int = LOOKED_AT_MAX,
) -> Part[Row]:
    """Find up to `rows_max` rows that fit; fewer where too many were looked at."""
    found: list[Row] = []
    looked_at, size = 0, rows_max
    while True:
        chunk = await read_chunk(before, size)
        for row in chunk:
            before = row[0]
            if fits(row):
                found.append(row)
            if len(found) == rows_max:
                return Part(items=found, next_before=before)
        looked_at += len(chunk)
        if len(chunk) < size:
            return Part(items=found, next_before=None)
        if looked_at >= looked_at_max:
            return Part(items=found, next_before=before)
        size = max(size, CHUNK_ROWS)
