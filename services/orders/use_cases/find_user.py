"""Find a user by address or id."""

from uuid import UUID

from services.orders.domain.user import User, normalise_email
from services.orders.identity_ports import IdentityStore
from services.runtime.errors import NotFoundError


async def find_user(*, email: str | None = None, user_id: UUID | None = None, store: IdentityStore) -> User:
    """Find a user by one of both.

    Raises:
        InvalidArgumentError: `invalid_email`.
        NotFoundError: `user_not_found`.
    """
    async with store.transaction() as rows:
        user = None
        if user_id is not None:
            user = await rows.users.find(user_id)
        elif email is not None:
            user = await rows.users.find_by_email(normalise_email(email))
    if user is None:
        raise NotFoundError("There is no such user.", reason="user_not_found")
    return user
