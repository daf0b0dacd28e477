"""Forget discrepancies that were healed long ago; those that are open stay."""

from datetime import timedelta

from services.orders.ports import Store
from services.runtime.clock import Clock

DISCREPANCIES_A_PASS_MAX = 1_000
"""Deleted by one transaction: a few milliseconds."""


async def forget_healed(*, store: Store, clock: Clock, retention: timedelta) -> int:
    """Delete a bounded number of those healed longer ago than `retention`; return how many, 0 when none is left."""
    healed_before = clock.now() - retention
    async with store.transaction() as rows:
        return await rows.comparisons.forget(healed_before=healed_before, rows_max=DISCREPANCIES_A_PASS_MAX)
