"""Make a one-use token by which a user who forgot the password sets a new one."""

import secrets
from datetime import timedelta

from services.orders.domain.password_reset import RESET_SECONDS, IssuedReset
from services.orders.domain.user import normalise_email
from services.orders.identity_ports import IdentityStore
from services.orders.use_cases.refresh_token import TOKEN_BYTES, hash_of
from services.runtime.clock import Clock
from services.runtime.errors import NotFoundError, RefusedError
from services.runtime.ids import new_id


async def issue_password_reset(email: str, *, store: IdentityStore, clock: Clock) -> IssuedReset:
    """Make a token. Earlier ones stay good, so that who asks in another's name takes nothing from them.

    Raises:
        InvalidArgumentError: `invalid_email`.
        NotFoundError: `user_not_found`.
        RefusedError: `password_at_issuer`: an issuer made this user, who is to be gone here when gone there; a password
            would outlive that.
    """
    normal = normalise_email(email)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = clock.now() + timedelta(seconds=RESET_SECONDS)
    async with store.transaction() as rows:
        user = await rows.users.find_by_email(normal)
        if user is None:
            raise NotFoundError("There is no such user.", reason="user_not_found")
        if await rows.externals.has_made(user.user_id):
            raise RefusedError("This user signs in at an issuer of their own.", reason="password_at_issuer")
        await rows.resets.add(hash_of(token), user.user_id, expires_at)
    return IssuedReset(reset_id=new_id(), token=token, user=user, expires_at=expires_at)
