"""Find the user of a person whom another issuer vouches for, or make one.

At the first sign-in a user who is there already may become this person's, by the address that the issuer has verified.
Nobody has verified it here: whoever registered it before its owner came would stay in the account. So the password, all
sessions and all webhook endpoints, whose secrets that one knows, end at that moment; the owner can have a new password
sent to the address.

Treasury and operator are had only by the issuer that made the user, never by another one that knows the address: not at
the first sign-in, not at a later one, and not by a session that was begun before the user got such a role.

Source: A. Sudhodanan, A. Paverd, "Pre-hijacked accounts", USENIX Security 2022, section 4.1.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.external_identity import (
    ROLES_NEVER_LINKED,
    ExternalIdentity,
    ExternalPerson,
    IdentityTakenError,
    check_linkable,
    check_person,
)
from services.orders.domain.user import EmailTakenError, User, normalise_email
from services.orders.identity_ports import IdentityRows, IdentityStore, Passwords, RevokedToken
from services.orders.use_cases.end_all_sessions import end_generation
from services.orders.use_cases.refresh_token import TOKEN_BYTES
from services.runtime.clock import Clock
from services.runtime.errors import ForbiddenError, NotFoundError, UnavailableError
from services.runtime.ids import new_id

ATTEMPTS_MAX: Final = 3
"""One sign-in may lose to another one of the same person, and one to a registration of the same address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Who it is."""

    user: User
    revoked: RevokedToken | None = None
    """What stands for the access tokens of a user whose sessions ended by this."""


async def sign_in_externally(
    person: ExternalPerson,
    *,
    registers_unknown: bool,
    tokens_expire_at: datetime,
    store: IdentityStore,
    passwords: Passwords,
    clock: Clock,
) -> SignedIn:
    """Tell which user it is; of many first sign-ins at once one makes the user, and all get that one.

    Args:
        person: Whom the gateway has verified.
        registers_unknown: Whether to make a user for who has none.
        tokens_expire_at: When the last access token that was issued until now ends by itself.
        store: Where users are.
        passwords: Hashes a password that nobody knows, so that who was made here is refused like any wrong password.
        clock: Tells now.

    Raises:
        InvalidArgumentError: `invalid_external_identity`, `role_missing`, `invalid_email`.
        ForbiddenError: `account_not_linkable`; at the first sign-in `email_not_verified`, `user_not_registered` too.
        UnavailableError: Too many passwords are being hashed, or too many others were quicker.
    """
    check_person(person)
    async with store.transaction() as rows:
        known = await _known(rows, person, tokens_expire_at, clock.now())
        if known is not None:
            return known
        await _account_of(rows, person, registers_unknown=registers_unknown)
    password_hash = await passwords.hash(secrets.token_urlsafe(TOKEN_BYTES))
    for _ in range(ATTEMPTS_MAX):
        try:
            async with store.transaction() as rows:
                known = await _known(rows, person, tokens_expire_at, clock.now())
                if known is not None:
                    return known
                account = await _account_of(rows, person, registers_unknown=registers_unknown)
                if account is not None:
                    return await _link(rows, person, account, password_hash, tokens_expire_at, clock.now())
                return await _make(rows, person, password_hash, clock.now())
        except (EmailTakenError, IdentityTakenError):
            continue  # another call was quicker; the next look sees what it wrote
    raise UnavailableError("Too many sign-ins of one person at once.", reason="too_many_sign_ins")


async def _known(
    rows: IdentityRows, person: ExternalPerson, tokens_expire_at: datetime, now: datetime
) -> SignedIn | None:
    """Find who has been here before; the roles are the issuer's where the user is."""
    identity = await rows.externals.find(person.issuer, person.subject)
    if identity is None:
        return None
    user = await _user(rows, identity.user_id)
    if not identity.made_user:
        check_linkable(user)
        return SignedIn(user=user)
    if user.roles == person.roles:
        return SignedIn(user=user)
    await rows.users.set_roles(user.user_id, person.roles)
    gained = (person.roles - user.roles) & ROLES_NEVER_LINKED
    revoked = await end_generation(rows, user.user_id, tokens_expire_at, now) if gained else None
    return SignedIn(user=await _user(rows, user.user_id), revoked=revoked)


async def _account_of(rows: IdentityRows, person: ExternalPerson, *, registers_unknown: bool) -> User | None:
    """Find the user who has the address, and let pass only who may have that user, or a new one."""
    if not person.verified_email:
        raise ForbiddenError("The issuer has not verified the address.", reason="email_not_verified")
    account = await rows.users.find_by_email(normalise_email(person.verified_email))
    if account is not None:
        check_linkable(account)
    elif not registers_unknown:
        raise ForbiddenError("Nobody is registered with this address.", reason="user_not_registered")
    return account


async def _link(
    rows: IdentityRows,
    person: ExternalPerson,
    account: User,
    password_hash: str,
    tokens_expire_at: datetime,
    now: datetime,
) -> SignedIn:
    # The user's row comes first: two first sign-ins at once take turns here.
    revoked = await end_generation(rows, account.user_id, tokens_expire_at, now)
    await rows.users.set_password_hash(account.user_id, password_hash)
    await rows.resets.forget_of(account.user_id)
    await rows.listeners.remove_all(account.user_id, now)
    await rows.externals.add(_identity(person, account, now, made_user=False))
    return SignedIn(user=await _user(rows, account.user_id), revoked=revoked)


async def _make(rows: IdentityRows, person: ExternalPerson, password_hash: str, now: datetime) -> SignedIn:
    email = normalise_email(person.verified_email)
    user = User(user_id=new_id(), email=email, roles=person.roles, created_at=now)
    await rows.users.add(user, password_hash)
    await rows.externals.add(_identity(person, user, now, made_user=True))
    return SignedIn(user=user)


async def _user(rows: IdentityRows, user_id: UUID) -> User:
    user = await rows.users.find(user_id)
    if user is None:
        raise NotFoundError("There is no such user.", reason="user_not_found")
    return user


def _identity(person: ExternalPerson, user: User, now: datetime, *, made_user: bool) -> ExternalIdentity:
    return ExternalIdentity(
        issuer=person.issuer, subject=person.subject, user_id=user.user_id, made_user=made_user, first_seen_at=now
    )
