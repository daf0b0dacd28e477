"""Compare orders with their holds, by the ledger's own answers."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.orders.domain.discrepancy import Discrepancy, OrderSums, discrepancy_of
from services.orders.ports import Ledger

ASKED_AT_ONCE_MAX: Final = 8
"""Questions under way at once: a comparison never takes the ledger's time from those who buy."""


async def compare_orders(orders: Sequence[OrderSums], *, ledger: Ledger, now: datetime) -> list[Discrepancy]:
    """Tell which of the orders disagree with their holds; changes nothing.

    Raises:
        UnavailableError: The ledger is away: nothing is known.
    """
    found: list[Discrepancy] = []
    for first in range(0, len(orders), ASKED_AT_ONCE_MAX):
        some = orders[first : first + ASKED_AT_ONCE_MAX]
        # All answers are awaited, also after one that failed: no question goes on behind the caller's back.
        answers = await asyncio.gather(*(_compare(order, ledger, now) for order in some), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                found.append(answer)
    return found


async def _compare(order: OrderSums, ledger: Ledger, now: datetime) -> Discrepancy | None:
    hold = await ledger.find_hold(order.order_id) if order.needs_hold() else None
    return discrepancy_of(order, hold, now)
