"""Forget deliveries that ended long ago, and then the removed endpoints that have none left."""

from datetime import timedelta

from services.orders.ports import Store
from services.runtime.clock import Clock

WEBHOOKS_A_PASS_MAX = 1_000
"""Deliveries, or endpoints, deleted by one transaction: a few milliseconds."""


async def forget_webhooks(*, store: Store, clock: Clock, retention: timedelta) -> int:
    """Delete a bounded number of what ended longer ago than `retention`; return how many, 0 when none is left."""
    ended_before = clock.now() - retention
    async with store.transaction() as rows:
        deliveries = await rows.webhooks.forget(updated_before=ended_before, rows_max=WEBHOOKS_A_PASS_MAX)
    async with store.transaction() as rows:
        endpoints = await rows.webhooks.forget_endpoints(removed_before=ended_before, rows_max=WEBHOOKS_A_PASS_MAX)
    return deliveries + endpoints
