"""Invariant 5: what orders believes of each order is what the ledger did with its hold.

Both are read in the order of their ids, which are the same, and compared pair by pair. On a platform that runs, the two
are not read in the same instant; what looks wrong is looked at again until it is right or the stated lag is over.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from services.ledger.domain.hold import Hold, HoldState
from services.ledger.queries.hold_totals import hold_totals
from services.orders.outbound.order_totals import OrderTotals, order_totals

LAG_SECONDS_MAX = 10.0
"""How long after its capture an order may still wait to be SETTLED, on a platform that runs."""

LOOK_AGAIN_SECONDS = 0.5
"""Between two looks."""

DIFFERENCES_MAX = 100_000
"""Kept of one look, some 50 MB; those behind them are counted. A restored database may lack as many orders, and each of
their buyers waits for money."""

CAPTURED_STATES = frozenset({"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED", "REFUNDING"})
"""The order knows what was captured."""

WAITING_STATES = frozenset({"CONFIRMED", "CANCELLING", "EXPIRING"})
"""The ledger may be ahead of the order, which has not heard of it yet."""

HOLDLESS_STATES = frozenset({"PENDING", "REJECTED", "CANCELLED", "EXPIRED", "CANCELLING", "EXPIRING"})
"""The ledger may never have held anything."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An order and its hold disagree; one that is `under_way` ends by itself when the platform runs."""

    order_id: UUID
    message: str
    under_way: bool = False

    def __str__(self) -> str:
        return f"order {self.order_id}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Look:
    """One comparison of everything; `unlisted` counts the differences that were not kept."""

    orders: int = 0
    holds: int = 0
    unlisted: int = 0
    differences: set[Difference]


async def check_settlement(
    orders_url: str, ledger_url: str, *, is_running: bool, book_id: int = 1
) -> tuple[str, list[str]]:
    """Compare each order of a database with its hold in another one's book.

    Returns:
        What was looked at, and what is wrong.
    """
    look = await _look(orders_url, ledger_url, book_id)
    differences = look.differences
    deadline = time.monotonic() + LAG_SECONDS_MAX
    while is_running and differences and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        look = await _look(orders_url, ledger_url, book_id)
        differences &= look.differences
    wrong = [difference for difference in differences if is_running or not difference.under_way]
    waiting = len(look.differences) - len(wrong)
    looked_at = f"{look.orders:,} orders against {look.holds:,} holds" + (f", {waiting:,} under way" if waiting else "")
    unlisted = [f"{look.unlisted:,} more differ and are not listed"] if look.unlisted else []
    return looked_at, [*sorted(str(difference) for difference in wrong), *unlisted]


async def _look(orders_url: str, ledger_url: str, book_id: int) -> Look:
    return await compared(order_totals(orders_url), hold_totals(ledger_url, book_id=book_id))


async def compared(
    orders: AsyncIterator[OrderTotals], holds: AsyncIterator[Hold], *, differences_max: int = DIFFERENCES_MAX
) -> Look:
    """Compare two streams in the order of their ids."""
    look = Look(differences=set())
    async for order, hold in pairs_of(orders, holds):
        look.orders += order is not None
        look.holds += hold is not None
        difference = difference_of(order, hold)
        if difference is None:
            continue
        if len(look.differences) < differences_max:
            look.differences.add(difference)
        else:
            look.unlisted += 1
    return look


async def pairs_of(
    orders: AsyncIterator[OrderTotals], holds: AsyncIterator[Hold]
) -> AsyncIterator[tuple[OrderTotals | None, Hold | None]]:
    """Pair two streams in the order of ids; what has no counterpart comes with None."""
    order, hold = await anext(orders, None), await anext(holds, None)
    while order is not None or hold is not None:
        takes_order = order is not None and (hold is None or order.order_id <= hold.hold_id)
        takes_hold = hold is not None and (order is None or hold.hold_id <= order.order_id)
        yield (order if takes_order else None), (hold if takes_hold else None)
        order = await anext(orders, None) if takes_order else order
        hold = await anext(holds, None) if takes_hold else hold


def difference_of(order: OrderTotals | None, hold: Hold | None) -> Difference | None:
    """Compare one pair."""
    if hold is not None and hold.state is HoldState.TOMBSTONE:
        hold = None
    if order is None:
        return Difference(hold.hold_id, _without_order(hold)) if hold else None
    if hold is None:
        if order.state in HOLDLESS_STATES:
            return None
        return Difference(order.order_id, f"it is {order.state}, and the ledger has no hold")
    if (order.buyer_id, order.currency) != (hold.wallet_id, hold.currency):
        return Difference(order.order_id, "its hold is of another wallet or currency")
    return _difference_of_sums(order, hold)


def _without_order(hold: Hold) -> str:
    """Say all that is needed to give the money back."""
    return (
        f"the ledger has its hold, and there is no such order: wallet {hold.wallet_id}, {hold.currency}, "
        f"{hold.captured_minor} captured, {hold.refunded_minor} refunded, {hold.remaining_minor} held"
    )


def _difference_of_sums(order: OrderTotals, hold: Hold) -> Difference | None:
    if order.captured_minor != hold.captured_minor:
        message = f"it is {order.state} with {order.captured_minor} captured, and the ledger captured "
        waits = order.state in WAITING_STATES and order.captured_minor == 0
        return Difference(order.order_id, f"{message}{hold.captured_minor}", under_way=waits)
    if (order.state in CAPTURED_STATES) != (hold.captured_minor > 0):
        return Difference(order.order_id, f"it is {order.state}, and the ledger captured {hold.captured_minor}")
    refunding = order.state == "REFUNDING"
    if order.refunded_minor != hold.refunded_minor:
        message = f"{order.refunded_minor} are refunded, and in the ledger {hold.refunded_minor}"
        waits = refunding and order.refunded_minor < hold.refunded_minor
        return Difference(order.order_id, message, under_way=waits)
    return None
