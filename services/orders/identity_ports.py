"""What the use cases of users and their sessions need of the outside."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.orders.domain.external_identity import ExternalIdentity
from services.orders.domain.password_reset import IssuedReset
from services.orders.domain.session import RefreshToken, Session
from services.orders.domain.user import Role, User


class UserRows(Protocol):
    """Users."""

    async def add(self, user: User, password_hash: str) -> None:
        """Write a new user.

        Raises:
            EmailTakenError: Somebody has this address.
        """
        ...

    async def find(self, user_id: UUID) -> User | None:
        """Read a user."""
        ...

    async def find_by_email(self, email: str) -> User | None:
        """Read a user by the normalised address."""
        ...

    async def password_hash_of(self, user_id: UUID) -> str:
        """Read the hash of a user's password."""
        ...

    async def set_password_hash(self, user_id: UUID, password_hash: str) -> None:
        """Replace the hash of a user's password."""
        ...

    async def renew_password_hash(self, user_id: UUID, password_hash: str, *, replaced: str) -> None:
        """Replace the hash of a user's password, unless it is another one by now."""
        ...

    async def set_roles(self, user_id: UUID, roles: frozenset[Role]) -> None:
        """Replace what a user may do."""
        ...

    async def begin_generation(self, user_id: UUID) -> int | None:
        """Count a user's generation up and return the new one, or None where there is no user."""
        ...


class SessionRows(Protocol):
    """Sessions and their refresh tokens."""

    async def add(self, session: Session) -> None:
        """Write a new session."""
        ...

    async def save(self, session: Session) -> None:
        """Write what changed of a session."""
        ...

    async def find_by_token(self, token_hash: bytes) -> tuple[Session, RefreshToken] | None:
        """Lock and read a session by any of its tokens."""
        ...

    async def save_token(self, token: RefreshToken) -> None:
        """Write a new token, or that it was used."""
        ...

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete tokens of sessions that ran out, and the sessions once these have none; return how many of both."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedToken:
    """An access token, or all of a user's generation, that was revoked before it expired."""

    token_id: str
    """A token's `jti`, or what `tokens_of_generation` says."""
    expires_at: datetime


class RevocationRows(Protocol):
    """Access tokens that were revoked before they expired."""

    async def add(self, token: RevokedToken, now: datetime) -> None:
        """Remember one; again is fine."""
        ...

    async def newest(self, now: datetime, *, tokens_max: int) -> list[RevokedToken]:
        """Read those that have not expired, newest first."""
        ...

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete the first of those that have expired; return how many."""
        ...


class ResetRows(Protocol):
    """One-use tokens to set a new password with, by their hashes."""

    async def add(self, token_hash: bytes, user_id: UUID, expires_at: datetime) -> None:
        """Write a new token."""
        ...

    async def find(self, token_hash: bytes, now: datetime) -> UUID | None:
        """Tell whose token it is, while it is good."""
        ...

    async def take(self, token_hash: bytes, now: datetime) -> bool:
        """Use a token up, and say whether it was still there and good."""
        ...

    async def forget_of(self, user_id: UUID) -> None:
        """Delete all of a user's."""
        ...

    async def forget_expired(self, now: datetime, *, rows_max: int) -> int:
        """Delete the first of those that have expired; return how many."""
        ...


class ExternalIdentityRows(Protocol):
    """Which users the persons are whom other issuers vouch for."""

    async def find(self, issuer: str, subject: str) -> ExternalIdentity | None:
        """Read which user a person is."""
        ...

    async def add(self, identity: ExternalIdentity) -> None:
        """Write which user a person is.

        Raises:
            IdentityTakenError: The person has a user.
        """
        ...

    async def has_made(self, user_id: UUID) -> bool:
        """Tell whether a user is there only because an issuer vouched for somebody."""
        ...


class ListenerRows(Protocol):
    """Where others are told of what users sell."""

    async def remove_all(self, merchant_id: UUID, now: datetime) -> None:
        """End all endpoints of a user, those too whose registration ends before this does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRows:
    """What one transaction reads and writes of people."""

    users: UserRows
    sessions: SessionRows
    revocations: RevocationRows
    resets: ResetRows
    externals: ExternalIdentityRows
    listeners: ListenerRows


class IdentityStore(Protocol):
    """The orders database, as the use cases of identity see it."""

    def transaction(self) -> AbstractAsyncContextManager[IdentityRows]:
        """Begin; commit at the end, roll back on any exception."""
        ...


class ResetDelivery(Protocol):
    """The way by which a user gets a token to set a new password with, and nobody else does."""

    async def deliver(self, issued: IssuedReset) -> None:
        """Hand it over; again is fine.

        Raises:
            UnavailableError: It wasn't taken.
        """
        ...


class Passwords(Protocol):
    """Slow hashing, off the event loop, for a bounded number of callers."""

    async def hash(self, password: str) -> str:
        """Hash a new password."""
        ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Check a password; None does the same work and says no."""
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        ...
