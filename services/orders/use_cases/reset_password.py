"""Set a new password with a one-use token, and end everything that the old one began.

Webhook endpoints end too: nobody verifies an address at registration, and whoever had registered it before its owner
came would go on hearing of each sale. A merchant who only forgot the password registers them again.
"""

from datetime import datetime

from services.orders.domain.user import UnknownResetTokenError, check_password
from services.orders.identity_ports import IdentityStore, Passwords, RevokedToken
from services.orders.use_cases.end_all_sessions import end_generation
from services.orders.use_cases.refresh_token import hash_of
from services.runtime.clock import Clock


async def reset_password(
    token: str,
    password: str,
    tokens_expire_at: datetime,
    *,
    store: IdentityStore,
    passwords: Passwords,
    clock: Clock,
) -> RevokedToken:
    """Set the password of whose token this is, use up all of the user's tokens, end all sessions and endpoints.

    Returns:
        What stands for the access tokens that were issued until now; see `end_all_sessions`.

    Raises:
        InvalidArgumentError: `invalid_password`.
        UnauthenticatedError: `reset_token_unknown`: never given, used, or expired.
        UnavailableError: Too many passwords are being hashed.
    """
    check_password(password)
    token_hash = hash_of(token)
    async with store.transaction() as rows:
        user_id = await rows.resets.find(token_hash, clock.now())
    if user_id is None:
        raise _unknown()
    password_hash = await passwords.hash(password)
    async with store.transaction() as rows:
        now = clock.now()
        # The user's row comes first: two tokens of one user, used at once, take turns and lock nobody out.
        revoked = await end_generation(rows, user_id, tokens_expire_at, now)
        if not await rows.resets.take(token_hash, now):
            raise _unknown()
        await rows.users.set_password_hash(user_id, password_hash)
        await rows.resets.forget_of(user_id)
        await rows.listeners.remove_all(user_id, now)
    return revoked


def _unknown() -> UnknownResetTokenError:
    return UnknownResetTokenError("This token was never given, was used, or is too old; ask for another one.")
