"""A person whom another issuer vouches for, and the user that this person is here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.user import Role, User
from services.runtime.errors import ConflictError, ForbiddenError, InvalidArgumentError

ISSUER_CHARACTERS_MAX: Final = 255
"""The longest name of an issuer; it is a URL."""

SUBJECT_CHARACTERS_MAX: Final = 255
"""The longest `sub`, in ASCII (OpenID Connect Core 1.0, section 2)."""

ROLES_NEVER_LINKED: Final = frozenset({Role.TREASURY, Role.OPERATOR})
"""Who has one of these is nobody's by an address alone: whoever sets addresses at an issuer would be the treasury."""


class IdentityTakenError(ConflictError):
    """This person has a user since a moment ago."""

    default_reason = "external_identity_known"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPerson:
    """Who is at the door, as a verified ID token said."""

    issuer: str
    subject: str
    verified_email: str
    """Empty when the issuer has verified none."""
    roles: frozenset[Role]
    """What the person may do, as the gateway's settings translate the issuer's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """Which user a person is. A user may be several persons: of several issuers, say."""

    issuer: str
    subject: str
    user_id: UUID
    made_user: bool
    """Whether the user is there only because of it: the issuer decides the roles then, and there is no password."""
    first_seen_at: datetime


def check_person(person: ExternalPerson) -> None:
    """Let a person pass who can be kept.

    Raises:
        InvalidArgumentError: `invalid_external_identity`, `role_missing`.
    """
    if not 0 < len(person.issuer) <= ISSUER_CHARACTERS_MAX or not _is_subject(person.subject):
        raise InvalidArgumentError(
            "The issuer or the subject is empty or too long.", reason="invalid_external_identity"
        )
    if not person.roles:
        raise InvalidArgumentError("Name a role.", reason="role_missing")


def check_linkable(user: User) -> None:
    """Let a user pass who may become a person's by the address.

    Raises:
        ForbiddenError: `account_not_linkable`.
    """
    if user.roles & ROLES_NEVER_LINKED:
        raise ForbiddenError("This address has an account that signs in here only.", reason="account_not_linkable")


def _is_subject(subject: str) -> bool:
    return 0 < len(subject) <= SUBJECT_CHARACTERS_MAX and subject.isascii()
