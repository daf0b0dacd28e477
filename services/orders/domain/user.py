"""A person: an address, a password's hash, roles."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from services.runtime.errors import ConflictError, ForbiddenError, InvalidArgumentError, UnauthenticatedError

EMAIL_CHARACTERS_MAX: Final = 254
"""The longest address that SMTP can carry (RFC 5321, erratum 1690)."""

PASSWORD_CHARACTERS_MIN: Final = 8
"""The shortest password (NIST SP 800-63B)."""

PASSWORD_CHARACTERS_MAX: Final = 256
"""The longest password: hashing has a bound."""

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\".]+(\.[^\s@<>()\[\],;:\\\".]+)*")


class Role(Enum):
    """What a user may do."""

    BUYER = "buyer"
    MERCHANT = "merchant"
    TREASURY = "treasury"
    OPERATOR = "operator"


ROLES_BY_REGISTRATION: Final = frozenset({Role.BUYER, Role.MERCHANT})
"""What people can give themselves; the others come from bootstrap settings."""


class EmailTakenError(ConflictError):
    """Somebody has this address."""

    default_reason = "email_taken"


class BadCredentialsError(UnauthenticatedError):
    """An unknown address or a wrong password: which one is nobody's business."""

    default_reason = "bad_credentials"


class UnknownResetTokenError(UnauthenticatedError):
    """Nobody was given this token to set a password with, or it was used, or it is too old."""

    default_reason = "reset_token_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A registered person; `user_id` is also the id of the wallet. The hash stays out of logs and reprs."""

    user_id: UUID
    email: str
    roles: frozenset[Role]
    created_at: datetime
    generation: int = 0
    """How often all sessions of the user were ended together; what belongs to an older generation is worth nothing."""


def normalise_email(email: str) -> str:
    """Return the form in which addresses are compared: without spaces around it, composed, in lower case.

    Raises:
        InvalidArgumentError: `invalid_email`.
    """
    normal = unicodedata.normalize("NFC", email.strip()).lower()
    if len(normal) > EMAIL_CHARACTERS_MAX or not normal.isprintable() or not _EMAIL.fullmatch(normal):
        raise InvalidArgumentError("That is no email address.", reason="invalid_email")
    return normal


def tokens_of_generation(user_id: UUID, generation: int) -> str:
    """Name all access tokens of a user's generation, as the list of revoked tokens does beside single tokens' ids."""
    return f"{user_id}/{generation}"


def check_password(password: str) -> None:
    """Let a password of a sane length pass.

    Raises:
        InvalidArgumentError: `invalid_password`.
    """
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise InvalidArgumentError(
            f"A password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters.",
            reason="invalid_password",
        )


def check_registrable(role: Role) -> None:
    """Let a role pass that people can give themselves.

    Raises:
        ForbiddenError: `role_not_registrable`.
    """
    if role not in ROLES_BY_REGISTRATION:
        raise ForbiddenError("That role is never given by registration.", reason="role_not_registrable")
