"""Remember access tokens that end before their time."""

from datetime import datetime

from services.orders.identity_ports import IdentityStore, RevokedToken
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError

TOKEN_ID_BYTES_MAX = 128
"""The longest `jti`: the width of its column."""

LISTED_TOKENS_MAX = 10_000
"""How many the gateway reads again: with tokens of ten minutes, 16 logouts a second."""


async def revoke_access_token(token_id: str, expires_at: datetime, *, store: IdentityStore, clock: Clock) -> None:
    """Remember one until it would have expired by itself; one that has expired needs no memory.

    Raises:
        InvalidArgumentError: `invalid_token_id`.
    """
    if not 1 <= len(token_id.encode()) <= TOKEN_ID_BYTES_MAX:
        raise InvalidArgumentError(f"A token id has 1 to {TOKEN_ID_BYTES_MAX} bytes.", reason="invalid_token_id")
    now = clock.now()
    if expires_at <= now:
        return
    async with store.transaction() as rows:
        await rows.revocations.add(RevokedToken(token_id=token_id, expires_at=expires_at), now)


async def list_revoked_access_tokens(*, store: IdentityStore, clock: Clock) -> list[RevokedToken]:
    """List those that have not expired, newest first."""
    async with store.transaction() as rows:
        return await rows.revocations.newest(clock.now(), tokens_max=LISTED_TOKENS_MAX)
