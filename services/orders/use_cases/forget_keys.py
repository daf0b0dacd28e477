"""Forget the keys of requests that nobody repeats any more: a request under such a key is a new one."""

from datetime import timedelta

from services.orders.ports import Store
from services.runtime.clock import Clock

KEYS_A_PASS_MAX = 500
"""Keys deleted by one transaction, so that it stays short."""


async def forget_keys(*, store: Store, clock: Clock, retention: timedelta) -> int:
    """Delete a bounded number of keys that are older than `retention`; return how many, 0 when none is left."""
    now = clock.now()
    async with store.transaction() as rows:
        return await rows.keys.forget(created_before=now - retention, now=now, keys_max=KEYS_A_PASS_MAX)
