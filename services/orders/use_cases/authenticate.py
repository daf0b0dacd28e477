"""Check a password. An unknown address costs the same work and gets the same answer as a wrong password."""

from services.orders.domain.user import (
    PASSWORD_CHARACTERS_MAX,
    BadCredentialsError,
    User,
    normalise_email,
)
from services.orders.identity_ports import IdentityStore, Passwords
from services.runtime.errors import InvalidArgumentError


async def authenticate(email: str, password: str, *, store: IdentityStore, passwords: Passwords) -> User:
    """Tell who it is; a hash with outdated parameters is renewed on the way.

    Raises:
        UnauthenticatedError: `bad_credentials`.
        UnavailableError: Too many passwords are being hashed.
    """
    user, password_hash = await _find(email, store=store)
    matches = await passwords.matches(password_hash, password[: PASSWORD_CHARACTERS_MAX + 1])
    if user is None or password_hash is None or not matches:
        raise BadCredentialsError("The address or the password is wrong.")
    if passwords.is_outdated(password_hash):
        renewed = await passwords.hash(password)
        async with store.transaction() as rows:
            # A password that was set in the meantime stays.
            await rows.users.renew_password_hash(user.user_id, renewed, replaced=password_hash)
    return user


async def _find(email: str, *, store: IdentityStore) -> tuple[User | None, str | None]:
    try:
        normal = normalise_email(email)
    except InvalidArgumentError:
        return None, None
    async with store.transaction() as rows:
        user = await rows.users.find_by_email(normal)
        return (None, None) if user is None else (user, await rows.users.password_hash_of(user.user_id))
