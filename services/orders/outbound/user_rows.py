"""Users in a transaction."""

from typing import Any
from uuid import UUID

from services.orders.domain.user import EmailTakenError, Role, User
from services.orders.outbound.tables import Tables
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import DuplicateKeyError


class PiccoloUserRows:
    """Fits `UserRows`; its queries join the transaction that they are awaited in."""

    def __init__(self, tables: Tables) -> None:
        """Work on these tables."""
        users = tables.users
        self._users = users
        self._read = (users.user_id, users.email, users.roles, users.created_at, users.generation)

    async def add(self, user: User, password_hash: str) -> None:
        """Write a new user.

        Raises:
            EmailTakenError: Somebody has this address.
        """
        users = self._users
        row = users(
            user_id=user.user_id,
            email=user.email.encode(),
            password_hash=password_hash,
            roles=_roles_text(user.roles),
            created_at=to_micros(user.created_at),
            generation=user.generation,
        )
        try:
            await users.insert(row)
        except DuplicateKeyError as error:
            raise EmailTakenError("Somebody has registered this address.") from error

    async def find(self, user_id: UUID) -> User | None:
        """Read a user."""
        users = self._users
        return _user_of(await users.select(*self._read).where(users.user_id == user_id))

    async def find_by_email(self, email: str) -> User | None:
        """Read a user by the normalised address."""
        users = self._users
        return _user_of(await users.select(*self._read).where(users.email == email.encode()))

    async def password_hash_of(self, user_id: UUID) -> str:
        """Read the hash of a user's password."""
        users = self._users
        rows = await users.select(users.password_hash).where(users.user_id == user_id)
        return str(rows[0]["password_hash"])

    async def set_password_hash(self, user_id: UUID, password_hash: str) -> None:
        """Replace the hash of a user's password."""
        users = self._users
        await users.update({users.password_hash: password_hash}).where(users.user_id == user_id)

    async def renew_password_hash(self, user_id: UUID, password_hash: str, *, replaced: str) -> None:
        """Replace the hash of a user's password, unless it is another one by now."""
        users = self._users
        await users.update({users.password_hash: password_hash}).where(
            (users.user_id == user_id) & (users.password_hash == replaced)
        )

    async def set_roles(self, user_id: UUID, roles: frozenset[Role]) -> None:
        """Replace what a user may do."""
        users = self._users
        await users.update({users.roles: _roles_text(roles)}).where(users.user_id == user_id)

    async def begin_generation(self, user_id: UUID) -> int | None:
        """Count a user's generation up and return the new one, or None where there is no user."""
        users = self._users
        # The update comes first: it locks the row, and what is read after it is what it wrote.
        await users.update({users.generation: users.generation + 1}).where(users.user_id == user_id)
        rows = await users.select(users.generation).where(users.user_id == user_id)
        return int(rows[0]["generation"]) if rows else None


def _roles_text(roles: frozenset[Role]) -> str:
    return ",".join(sorted(role.value for role in roles))


def _user_of(rows: list[dict[str, Any]]) -> User | None:
    if not rows:
        return None
    row = rows[0]
    return User(
        user_id=row["user_id"],
        email=row["email"].decode(),
        roles=frozenset(Role(role) for role in row["roles"].split(",")),
        created_at=from_micros(row["created_at"]),
        generation=row["generation"],
    )
