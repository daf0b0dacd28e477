"""An export for verification: what orders believes each order came to, to be compared with the journal."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.runtime.database_opening import open_database

ROWS_A_PAGE: Final = 1_000
"""How many are read at once: each page is a short transaction, so the service goes on beside it."""

_PAGE: Final = """
    SELECT order_id, state, buyer_id, currency, captured_minor, refunded_minor FROM orders
    WHERE order_id > $1 ORDER BY order_id LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTotals:
    """An order's sums, in minor units of its currency; `state` is the word of the public API."""

    order_id: UUID
    state: str
    buyer_id: UUID
    currency: str
    captured_minor: int
    refunded_minor: int


async def order_totals(database_url: str) -> AsyncIterator[OrderTotals]:
    """Read all orders of a database, oldest first, a page at a time; opens no door and changes nothing."""
    database = open_database(database_url)
    try:
        last = UUID(int=0)
        while True:
            async with database.snapshot() as connection:
                rows = await connection.fetch(_PAGE, last, ROWS_A_PAGE)
            for order_id, state, buyer_id, currency, captured_minor, refunded_minor in rows:
                yield OrderTotals(
                    order_id=order_id,
                    state=state,
                    buyer_id=buyer_id,
                    currency=currency,
                    captured_minor=captured_minor,
                    refunded_minor=refunded_minor,
                )
            if len(rows) < ROWS_A_PAGE:
                return
            last = rows[-1][0]
    finally:
        await database.close()
