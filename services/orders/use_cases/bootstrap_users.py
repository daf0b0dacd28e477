"""Make the users that nobody can register: treasury and operators, named by the settings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.orders.domain.user import EmailTakenError, Role, User, check_password, normalise_email
from services.orders.identity_ports import IdentityStore, Passwords
from services.runtime.clock import Clock
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapUser:
    """A user that has to be there."""

    email: str
    password: str = field(repr=False)
    roles: frozenset[Role]


async def bootstrap_users(
    wanted: Iterable[BootstrapUser], *, store: IdentityStore, passwords: Passwords, clock: Clock
) -> None:
    """Make those that are absent; users who are there keep their password and their roles.

    Two replicas that start at once are fine: the second one finds the address taken.
    """
    for one in wanted:
        email = normalise_email(one.email)
        check_password(one.password)
        async with store.transaction() as rows:
            known = await rows.users.find_by_email(email)
        if known is not None:
            continue
        password_hash = await passwords.hash(one.password)
        user = User(user_id=new_id(), email=email, roles=one.roles, created_at=clock.now())
        try:
            async with store.transaction() as rows:
                await rows.users.add(user, password_hash)
        except EmailTakenError:
            continue
