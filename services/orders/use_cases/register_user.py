"""Make a user."""

from dataclasses import dataclass, field

from services.orders.domain.user import Role, User, check_password, check_registrable, normalise_email
from services.orders.identity_ports import IdentityStore, Passwords
from services.runtime.clock import Clock
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """Who wants to take part."""

    email: str
    password: str = field(repr=False)
    role: Role


async def register_user(wanted: RegisterUser, *, store: IdentityStore, passwords: Passwords, clock: Clock) -> User:
    """Register a buyer or a merchant; a merchant may buy too.

    Raises:
        InvalidArgumentError: `invalid_email`, `invalid_password`.
        ForbiddenError: `role_not_registrable`.
        ConflictError: `email_taken`.
        UnavailableError: Too many passwords are being hashed.
    """
    email = normalise_email(wanted.email)
    check_password(wanted.password)
    check_registrable(wanted.role)
    password_hash = await passwords.hash(wanted.password)
    user = User(user_id=new_id(), email=email, roles=frozenset({wanted.role}), created_at=clock.now())
    async with store.transaction() as rows:
        await rows.users.add(user, password_hash)
    return user
