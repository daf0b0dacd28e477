"""The refresh token that a client holds: 256 random bits, of which only the hash is stored."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from services.orders.domain.session import RefreshToken, Session
from services.orders.domain.user import User
from services.orders.identity_ports import IdentityRows

TOKEN_BYTES = 32
"""256 bits: nobody guesses one, so a plain SHA-256 hides it well enough."""

TOKEN_CHARACTERS_MAX = 128
"""Longer texts were never given out, and aren't worth hashing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """What the client gets; `expires_at` is when the session ends if it is never refreshed."""

    refresh_token: str = field(repr=False)
    expires_at: datetime
    user: User


async def issue_token(rows: IdentityRows, session: Session, user: User, now: datetime) -> IssuedToken:
    """Make the session's next token."""
    text = secrets.token_urlsafe(TOKEN_BYTES)
    await rows.sessions.save_token(RefreshToken(token_hash=hash_of(text), session_id=session.session_id, issued_at=now))
    return IssuedToken(refresh_token=text, expires_at=session.expires_at, user=user)


def hash_of(refresh_token: str) -> bytes:
    """Hash a token as it is stored."""
    return hashlib.sha256(refresh_token[:TOKEN_CHARACTERS_MAX].encode()).digest()
