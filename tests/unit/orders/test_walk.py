"""A list that leaves most out ends a page after so many looks, and goes on where it stood."""

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from services.orders.outbound.walk import CHUNK_ROWS, walk
from services.runtime.database.port import Row

NEWEST = 5_000
"""How many rows there are, with ids from 1."""


class Table:
    """Rows of an id, the newest first."""

    def __init__(self) -> None:
        self.looked_at = 0

    async def read_chunk(self, before: UUID, rows_max: int) -> Sequence[Row]:
        first = min(before.int, NEWEST + 1) - 1
        rows = [(UUID(int=number),) for number in range(first, max(first - rows_max, 0), -1)]
        self.looked_at += len(rows)
        return rows


def every(number: int) -> Callable[[Row], bool]:
    return lambda row: row[0].int % number == 0


async def page(table: Table, fits: Callable[[Row], bool], before: int = NEWEST + 1) -> tuple[list[int], int | None]:
    part = await walk(table.read_chunk, fits, before=UUID(int=before), rows_max=50, looked_at_max=2 * CHUNK_ROWS)
    return [row[0].int for row in part.items], None if part.next_before is None else part.next_before.int


async def test_a_page_that_all_fit_reads_itself_alone() -> None:
    table = Table()

    assert await page(table, every(1)) == (list(range(NEWEST, NEWEST - 50, -1)), NEWEST - 49)
    assert table.looked_at == 50


@pytest.mark.parametrize("one_in", [1, 2, 99, 1_000, 4_999, 10_000])
async def test_pages_have_all_that_fits_once_and_in_order(one_in: int) -> None:
    table, found = Table(), list[int]()
    before: int | None = NEWEST + 1
    while before is not None:
        items, before = await page(table, every(one_in), before)
        found += items

    assert found == [number for number in range(NEWEST, 0, -1) if number % one_in == 0]


async def test_a_page_ends_after_so_many_looks_though_nothing_fits() -> None:
    table = Table()

    items, before = await page(table, every(10_000))

    assert items == []
    assert before == NEWEST + 1 - table.looked_at
    assert table.looked_at <= 3 * CHUNK_ROWS
