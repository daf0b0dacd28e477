"""Compare orders with the ledger all the time, in bounded steps, heal what is safe to heal, and remember the rest.

Two scopes go round: `recent` goes through the orders of the last 15 minutes again and again, so that what is wrong with
a new order shows within a minute or two; `all` goes through every order there ever was, at its own pace. How old the
last whole round is, is the stated lag.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from services.orders.domain.discrepancy import Discrepancy, OrderSums
from services.orders.ports import Ledger, Store
from services.orders.recovery_ports import ComparisonStep
from services.orders.use_cases.compare_orders import compare_orders
from services.orders.use_cases.heal_order import heal_order, unmoved
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError
from services.runtime.ids import first_id_of

logger = structlog.get_logger(__name__)

COMPARISON_LAG: Final = timedelta(seconds=10)
"""Orders that moved within it aren't compared yet: an event may be on its way, and that is no discrepancy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which orders go round together; `window` is how far back their ids go, None to the beginning."""

    name: str
    window: timedelta | None
    pause: timedelta
    """Between the beginnings of two rounds, at least."""

    def begins_after(self, now: datetime) -> UUID:
        """Tell the id that a round begins after."""
        return UUID(int=0) if self.window is None else first_id_of(now - self.window)


SCOPES: Final = (
    Scope(name="recent", window=timedelta(minutes=15), pause=timedelta(seconds=30)),
    Scope(name="all", window=None, pause=timedelta(minutes=10)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a step came to; `ends_round` says that the round goes on with no other."""

    compared: int
    found: tuple[Discrepancy, ...]
    healed: tuple[Discrepancy, ...]
    ends_round: bool = True


async def reconcile_step(scope: Scope, *, store: Store, ledger: Ledger, clock: Clock) -> Reconciled | None:
    """Take a scope's next step; None when there is nothing to do now, or another replica does it.

    Raises:
        UnavailableError: The ledger is away. The same step comes again when its time is over.
    """
    now = clock.now()
    async with store.transaction() as rows:
        step = await rows.comparisons.take(scope.name, now, round_from=scope.begins_after(now), round_pause=scope.pause)
    if step is None:
        return None
    return await reconcile(step.orders, store=store, ledger=ledger, clock=clock, step=step)


async def reconcile(
    orders: Sequence[OrderSums], *, store: Store, ledger: Ledger, clock: Clock, step: ComparisonStep | None = None
) -> Reconciled:
    """Compare orders, heal what is safe to heal, and remember what was found, what is over and that the step is done.

    What is no `step` of a round was asked for by a person, who has captures asked for again that are still overdue.

    Raises:
        UnavailableError: The ledger is away.
    """
    settled = at_rest(orders, clock.now())
    found = await compare_orders(settled, ledger=ledger, now=clock.now())
    by_hand = step is None
    healed = [one for one in found if await _heal(one, store=store, ledger=ledger, clock=clock, asks_again=by_hand)]
    disagreeing = {one.order_id for one in found}
    agreeing = [order.order_id for order in settled if order.order_id not in disagreeing]
    async with store.transaction() as rows:
        found = [one for one in found if one in healed or await unmoved(rows, one) is not None]
        for one in found:
            await rows.comparisons.note(one, clock.now(), healed=one in healed)
        await rows.comparisons.settle(agreeing, clock.now())
        if step is not None:
            await rows.comparisons.finish(step)
    for one in found:
        logger.warning(
            "order_discrepancy",
            order_id=str(one.order_id),
            kind=one.kind.value,
            healed=one in healed,
            detail=one.message,
        )
    return Reconciled(
        compared=len(settled),
        found=tuple(found),
        healed=tuple(healed),
        ends_round=step is None or step.ends_round,
    )


def at_rest(orders: Sequence[OrderSums], now: datetime) -> list[OrderSums]:
    """Leave out the orders that moved a moment ago."""
    return [order for order in orders if order.updated_at + COMPARISON_LAG <= now]


async def _heal(discrepancy: Discrepancy, *, store: Store, ledger: Ledger, clock: Clock, asks_again: bool) -> bool:
    """Heal one; one order's trouble doesn't keep the others from being compared."""
    try:
        return await heal_order(discrepancy, store=store, ledger=ledger, clock=clock, asks_again=asks_again)
    except TradeFlowError as error:
        logger.warning("order_not_healed", order_id=str(discrepancy.order_id), reason=error.reason)
        return False
