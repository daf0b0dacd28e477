"""End all sessions of a user, and with them every access token that was issued until now.

A user has a generation, a number that sessions and access tokens carry; the next one begins here. Sessions of an older
generation have ended by themselves, and the tokens of the one that ends are revoked under one name, like single tokens.
Numbers and not instants: a token says to the second when it was issued, clocks of machines differ, and who signs in
right afterwards must get in with a token of the same second.
"""

from datetime import datetime
from uuid import UUID

from services.orders.domain.user import tokens_of_generation
from services.orders.identity_ports import IdentityRows, IdentityStore, RevokedToken
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError


async def end_all_sessions(
    user_id: UUID, tokens_expire_at: datetime, *, store: IdentityStore, clock: Clock
) -> RevokedToken:
    """Begin the user's next generation; return what stands for the tokens of the one that ended.

    Args:
        user_id: Whose.
        tokens_expire_at: When the last access token of today's generation ends by itself.
        store: Where users are.
        clock: Tells now.

    Raises:
        NotFoundError: `user_not_found`.
    """
    async with store.transaction() as rows:
        return await end_generation(rows, user_id, tokens_expire_at, clock.now())


async def end_generation(rows: IdentityRows, user_id: UUID, tokens_expire_at: datetime, now: datetime) -> RevokedToken:
    """Do it within a transaction."""
    begun = await rows.users.begin_generation(user_id)
    if begun is None:
        raise NotFoundError("There is no such user.", reason="user_not_found")
    revoked = RevokedToken(token_id=tokens_of_generation(user_id, begun - 1), expires_at=tokens_expire_at)
    if tokens_expire_at > now:
        await rows.revocations.add(revoked, now)
    return revoked
