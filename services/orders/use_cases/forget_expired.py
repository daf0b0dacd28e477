"""Forget sessions, revocations and password resets that time has ended anyway."""

from services.orders.identity_ports import IdentityStore
from services.runtime.clock import Clock

ROWS_A_PASS_MAX = 500
"""Of each kind, and of sessions' tokens, deleted by one transaction, so that it stays short."""


async def forget_expired(*, store: IdentityStore, clock: Clock) -> int:
    """Delete a bounded number of what has expired; return how many, 0 when nothing is left."""
    now = clock.now()
    async with store.transaction() as rows:
        tokens = await rows.revocations.forget_expired(now, rows_max=ROWS_A_PASS_MAX)
        resets = await rows.resets.forget_expired(now, rows_max=ROWS_A_PASS_MAX)
        sessions = await rows.sessions.forget_expired(now, rows_max=ROWS_A_PASS_MAX)
    return tokens + resets + sessions
