"""ID tokens of other issuers: checked, and read as far as their issuer is believed.

Sources: OpenID Connect Core 1.0, sections 2, 3.1.3.7 and 5.7 (`iss` and `sub` name a person, an address doesn't);
RFC 8725, section 3.11 (no token of another kind passes for one).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from services.gateway.external_issuers import ExternalIssuer
from services.gateway.ports import ExternalPerson
from services.runtime.clock import Clock
from services.runtime.errors import UnauthenticatedError
from services.runtime.signed_claims import (
    LEEWAY_SECONDS,
    PublicKeys,
    TokenRules,
    audiences_of,
    check_times,
    claims_of,
    genuine_claims,
    instant,
    malformed,
    parsed,
    text,
)

TOKEN_TYPES: Final = frozenset({None, "jwt"})
"""The `typ` of ID tokens: none, or the general one; access and logout tokens have their own."""

EVERYBODY: Final = ("buyer",)
"""The roles of who was given none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer and its keys."""

    setting: ExternalIssuer
    keys: PublicKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the gateway itself asked an issuer for, where a token is the answer to that."""

    issuer: str
    nonce: str


class IdTokenVerifier:
    """Tells who somebody is by an ID token of one of these issuers."""

    def __init__(self, issuers: Collection[TrustedIssuer], clock: Clock) -> None:
        """Trust these issuers and nobody else."""
        self._issuers = {issuer.setting.issuer: issuer for issuer in issuers}
        self._clock = clock

    async def verify(self, id_token: str, *, asked: Asked | None = None) -> ExternalPerson:
        """Return who it is, and what the settings make of what the issuer says.

        Raises:
            UnauthenticatedError: With the reason token_malformed, token_wrong_issuer, token_forged,
                token_wrong_audience, token_expired, token_not_yet_valid, token_too_old or token_wrong_nonce.
            UnavailableError: The issuer's keys can't be had now.
        """
        signature = parsed(id_token)
        # Not believed yet: it only says whose keys to look for.
        trusted = self._issuers.get(text(claims_of(signature), "iss"))
        if trusted is None or (asked is not None and trusted.setting.issuer != asked.issuer):
            raise UnauthenticatedError("The token's issuer isn't one of ours.", reason="token_wrong_issuer")
        issuer = trusted.setting
        rules = TokenRules(algorithms=issuer.algorithms, types=TOKEN_TYPES, kind="an ID token")
        claims = await genuine_claims(signature, trusted.keys, rules)
        _check_kind(claims)
        if asked is not None and claims.get("nonce") != asked.nonce:
            raise UnauthenticatedError("The token answers another sign-in.", reason="token_wrong_nonce")
        _check_audience(claims, issuer.audience)
        self._check_times(claims, age_seconds_max=issuer.token_age_seconds_max)
        return ExternalPerson(
            issuer=issuer.issuer,
            subject=text(claims, "sub"),
            verified_email=_verified_email(claims),
            roles=_roles(claims, issuer),
            registers_unknown=issuer.registers_unknown,
        )

    def _check_times(self, claims: Mapping[str, Any], *, age_seconds_max: int) -> None:
        now = self._clock.now()
        check_times(claims, now)
        if now > instant(claims, "iat") + timedelta(seconds=age_seconds_max + LEEWAY_SECONDS):
            raise UnauthenticatedError("The token was issued too long ago; sign in anew.", reason="token_too_old")


def _check_kind(claims: Mapping[str, Any]) -> None:
    """Refuse what the same issuer signs for other purposes with the same header.

    Keycloak names the kind in a claim `typ`; a logout token has `events` (OpenID Connect Back-Channel Logout 1.0,
    section 2.4).
    """
    if claims.get("typ", "ID") != "ID" or "events" in claims:
        raise malformed("The token isn't an ID token.")


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """Check that the token was made for us, and at our request (section 3.1.3.7, rules 3 to 5)."""
    audiences = set(audiences_of(claims))
    authorized_party = claims.get("azp", client_id if len(audiences) == 1 else None)
    if client_id not in audiences or authorized_party != client_id:
        raise UnauthenticatedError("The token is meant for somebody else.", reason="token_wrong_audience")


def _verified_email(claims: Mapping[str, Any]) -> str:
    email = claims.get("email")
    return email if isinstance(email, str) and claims.get("email_verified") is True else ""


def _roles(claims: Mapping[str, Any], issuer: ExternalIssuer) -> tuple[str, ...]:
    told = claims.get(issuer.roles_claim) if issuer.roles_claim else None
    words = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    given = {issuer.roles[word] for word in words if isinstance(word, str) and word in issuer.roles}
    return tuple(sorted(given)) or EVERYBODY
