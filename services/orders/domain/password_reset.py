"""A token of one use by which a user who forgot the password sets a new one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.user import User

RESET_SECONDS: Final = 1800
"""How long a token is good: a mail arrives and is read in that time. Source: OWASP's Forgot Password Cheat Sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedReset:
    """What the user gets by a way that nobody else reads; only the token's hash is kept."""

    reset_id: UUID
    """Names it where the token may not stand."""
    token: str = field(repr=False)
    user: User
    expires_at: datetime
