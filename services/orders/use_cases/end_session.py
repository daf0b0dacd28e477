"""End a session."""

from services.orders.identity_ports import IdentityStore
from services.orders.use_cases.refresh_token import hash_of
from services.runtime.clock import Clock


async def end_session(refresh_token: str, *, store: IdentityStore, clock: Clock) -> None:
    """End the session that any of its tokens belongs to; unknown tokens are fine."""
    async with store.transaction() as rows:
        found = await rows.sessions.find_by_token(hash_of(refresh_token))
        if found is not None:
            await rows.sessions.save(found[0].end(clock.now()))
