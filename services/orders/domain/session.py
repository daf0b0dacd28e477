"""A session: a family of refresh tokens, each used once.

A token that comes again long after its use was stolen from somebody, the owner or the thief; nobody can tell which, so
the whole family ends. Shortly after its use it is a lost answer or a second tab: it gets a successor too.

Source: RFC 9700 section 4.14.2 (refresh token rotation).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.runtime.errors import UnauthenticatedError


class UnknownRefreshTokenError(UnauthenticatedError):
    """Nobody was given this token, or it was forgotten since."""

    default_reason = "refresh_token_unknown"


class SessionEndedError(UnauthenticatedError):
    """The session was ended, or nobody refreshed it in time."""

    default_reason = "session_ended"


class RefreshTokenReusedError(UnauthenticatedError):
    """A token that was used up came again: the family ends."""

    default_reason = "refresh_token_reused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes:
    """How long sessions live."""

    idle: timedelta
    longest: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A family of refresh tokens."""

    session_id: UUID
    user_id: UUID
    created_at: datetime
    expires_at: datetime
    generation: int
    """The user's when it began."""
    ended_at: datetime | None = None
    ended_by_reuse: bool = False

    def refresh(self, now: datetime, times: SessionTimes, *, generation: int) -> "Session":
        """Live on for another idle time, within the longest life, while the user has the generation that it began in.

        Raises:
            RefreshTokenReusedError: It ended because a token was used again.
            SessionEndedError: It ended, or ran out.
        """
        if self.ended_by_reuse:
            raise RefreshTokenReusedError("The session was ended, because one of its tokens was used twice.")
        if self.ended_at is not None or now >= self.expires_at or self.generation < generation:
            raise SessionEndedError("The session has ended; sign in again.")
        return replace(self, expires_at=min(now + times.idle, self.created_at + times.longest))

    def end(self, now: datetime, *, by_reuse: bool = False) -> "Session":
        """End it for all of its tokens; an ended one stays as it is."""
        if self.ended_at is not None:
            return self
        return replace(self, ended_at=now, ended_by_reuse=by_reuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One token of a family, known by its hash only."""

    token_hash: bytes
    session_id: UUID
    issued_at: datetime
    used_at: datetime | None = None

    def use(self, now: datetime) -> "RefreshToken":
        """Use it up; the first use counts."""
        return self if self.used_at is not None else replace(self, used_at=now)

    def was_stolen(self, now: datetime, times: SessionTimes) -> bool:
        """Tell whether it was used up too long ago for a lost answer."""
        return self.used_at is not None and now > self.used_at + times.grace


def begin_session(*, session_id: UUID, user_id: UUID, generation: int, now: datetime, times: SessionTimes) -> Session:
    """Begin a family."""
    return Session(
        session_id=session_id,
        user_id=user_id,
        created_at=now,
        expires_at=now + times.idle,
        generation=generation,
    )
