"""What the gateway's core asks of Redis, of the ledger and of the orders service."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from services.runtime.jwt import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletNotice:
    """One event of a wallet on its way to the wallet's owner."""

    wallet_id: str
    sequence: int
    """The wallet's own, without gaps from 1."""
    recorded_at_micros: int
    """When the ledger recorded it: never before an event of a lower sequence, unless that was lost by a restore."""
    payload: bytes
    """The event as it was published; only the doors read it."""
    traceparent: str = field(default="", compare=False)
    """The step that handed a live event on; what comes from a history belongs to no trace any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """What the history has of a wallet."""

    newest: WalletNotice | None
    """None when it has nothing. Newer events may exist: a history may lose its tail."""
    notices: tuple[WalletNotice, ...]
    """In order of sequence; holes are possible."""

    @property
    def newest_sequence(self) -> int:
        """Tell the newest sequence; 0 when there is none."""
        return self.newest.sequence if self.newest else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPage:
    """What the ledger has of a wallet: the truth, up to the time of reading."""

    last_sequence: int
    reload_required: bool
    """True when the events asked for are no longer kept."""
    notices: tuple[WalletNotice, ...]
    """In order of sequence, without a hole, from the one asked for."""


class WalletHistory(Protocol):
    """A capped memory of recent events, shared by all replicas. Losing any of it is fine."""

    async def append(self, notices: Sequence[WalletNotice]) -> None:
        """Remember events; a repeated one changes nothing, and one that came in another's place replaces all.

        Raises:
            UnavailableError: Perhaps none were remembered.
        """
        ...

    async def read(self, wallet_id: str, *, after_sequence: int | None) -> HistoryPage:
        """Return what is remembered after a sequence; without one, only the newest event.

        Raises:
            UnavailableError: The memory can't be reached.
        """
        ...

    async def forget(self, wallet_id: str) -> None:
        """Forget a wallet.

        Raises:
            UnavailableError: Perhaps it isn't forgotten.
        """
        ...


class WalletEvents(Protocol):
    """The ledger's own memory of a wallet's events."""

    async def list_wallet_events(self, owner: Principal, *, after_sequence: int, page_size: int) -> LedgerPage:
        """Return the owner's events after a sequence.

        Raises:
            UnavailableError: The ledger can't be reached.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedToken:
    """An access token that ends before its time, or all of a user's generation."""

    token_id: str
    """A token's `jti`, or what `tokens_of_generation` says."""
    expires_at: datetime


class RevocationList(Protocol):
    """The durable list of revoked tokens, kept by orders."""

    async def revoke_access_token(self, token: RevokedToken) -> None:
        """Remember a revocation until the token would have expired."""
        ...

    async def end_all_sessions(self, user_id: str, *, tokens_expire_at: datetime) -> RevokedToken:
        """End all sessions of a user, and return what stands for every access token issued until now."""
        ...

    async def list_revoked_access_tokens(self) -> list[RevokedToken]:
        """Return all that have not expired."""
        ...


class RevocationCache(Protocol):
    """What all replicas know of revoked tokens, quick to ask; losing it is fine."""

    async def add(self, tokens: Sequence[RevokedToken]) -> None:
        """Remember revocations until their tokens expire."""
        ...

    async def mark_complete(self) -> None:
        """Say that the durable list was just copied here."""
        ...

    async def look_up(self, token_ids: Sequence[str]) -> bool | None:
        """Tell whether any of these is revoked, or None when the cache may have lost entries."""
        ...


class TicketStore(Protocol):
    """Keeps what a one-use ticket stands for, for seconds."""

    async def issue(self, token: str, *, lifetime_seconds: int) -> str:
        """Exchange an access token for a ticket."""
        ...

    async def redeem(self, ticket: str) -> str | None:
        """Return the access token, once; None when the ticket is unknown, used or too old."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person, as orders knows them."""

    user_id: str
    email: str
    roles: tuple[str, ...]
    created_at: datetime
    generation: int = 0
    """How often all sessions of the user were ended together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session's newest refresh token and whose it is."""

    refresh_token: str = field(repr=False)
    user: User


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPerson:
    """Whom another issuer vouches for, by a verified ID token."""

    issuer: str
    subject: str
    verified_email: str
    """Empty when the issuer has verified none."""
    roles: tuple[str, ...]
    """What the settings make of what the issuer says."""
    registers_unknown: bool
    """Whether who has no account gets one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInAttempt:
    """What one sign-in at another issuer's page must bring back; all of it is random."""

    state: str = field(repr=False)
    """Comes back beside the code."""
    nonce: str = field(repr=False)
    """Comes back inside the ID token."""
    verifier: str = field(repr=False)
    """Shows that who brings the code has asked for it (RFC 7636)."""


class CodeIssuer(Protocol):
    """An issuer whose page signs people in for us."""

    async def address(self, attempt: SignInAttempt, redirect_uri: str) -> str:
        """Return where a browser goes to sign in.

        Raises:
            UnavailableError: The issuer can't be asked where that is.
        """
        ...

    async def id_token(self, code: str, attempt: SignInAttempt, redirect_uri: str) -> str:
        """Return the ID token that the issuer gives for a code; nothing of it is checked.

        Raises:
            UnauthenticatedError: `sign_in_refused`.
            UnavailableError: The issuer is away, or doesn't know the client.
        """
        ...


class ExternalIdentities(Protocol):
    """Which users the persons of other issuers are."""

    async def sign_in_externally(
        self, person: ExternalPerson, *, tokens_expire_at: datetime
    ) -> tuple[Session, RevokedToken | None]:
        """Begin a session of a person's user; return it, and what stands for tokens that ended by it.

        Raises:
            ForbiddenError: `email_not_verified`, `user_not_registered` or `account_not_linkable`.
            UnavailableError: Orders can't tell.
        """
        ...


class Identities(Protocol):
    """Users and sessions. Each call raises what `identity_service.proto` names, or UnavailableError."""

    async def register(self, *, email: str, password: str, role: Literal["buyer", "merchant"]) -> User:
        """Make a user."""
        ...

    async def sign_in(self, *, email: str, password: str) -> Session:
        """Check a password and begin a session."""
        ...

    async def refresh(self, refresh_token: str) -> Session:
        """Exchange a refresh token for its successor."""
        ...

    async def end_session(self, refresh_token: str) -> None:
        """End a session."""
        ...

    async def request_password_reset(self, email: str) -> int:
        """Ask for a token for a new password, whether there is such a user or not; return the seconds one is good."""
        ...

    async def reset_password(self, *, token: str, password: str, tokens_expire_at: datetime) -> RevokedToken:
        """Set a new password and end all sessions; return what stands for every access token issued until now."""
        ...

    async def find_user_by_email(self, email: str) -> User:
        """Find a user."""
        ...

    async def find_user_by_id(self, user_id: str) -> User:
        """Find a user."""
        ...
