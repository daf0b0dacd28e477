"""Who calls: bearer tokens (RS256 JSON Web Tokens) checked against the issuer's public keys.

Every service checks each token by itself; only the gateway holds private keys.

Sources: RFC 7519 (JWT), RFC 8725 (best current practice: an allow-list of algorithms, never the token's own word),
RFC 9068 (access tokens).
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.runtime.clock import Clock
from services.runtime.errors import UnauthenticatedError
from services.runtime.signed_claims import (
    PublicKeys,
    TokenRules,
    audiences_of,
    check_times,
    genuine_claims,
    malformed,
    parsed,
    text,
)

ALGORITHM = "RS256"
"""The only algorithm that is accepted, whatever a token or a key says."""

SHARED_AUDIENCE = "tradeflow"
"""The audience of users' tokens: good for every service."""

SERVICE_ROLE = "service"
"""The role of a service's own token."""

TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""The `typ` of access tokens, so that no other kind of signed token passes for one (RFC 9068, section 4)."""

RULES = TokenRules(algorithms=(ALGORITHM,), types=TOKEN_TYPES, kind="a plain access token (typ at+jwt)")
"""What `signed_claims.py` asks of an access token."""

GENERATION_CLAIM = "gen"
"""Of users' tokens, and private (RFC 7519, section 4.3); a token without it is of generation 0."""

REMEMBERED_TOKENS_MAX = 4096
"""Verified tokens kept; about 2 KiB each."""

REMEMBERED_SECONDS_MAX = 60
"""How long a verified token is believed without a new look at the keys, so that a withdrawn key stops working soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller whose token was verified."""

    subject: str
    """The user's id, or the service's client id."""
    roles: frozenset[str]
    audience: str
    """The audience that was matched: the service's own name or the shared one."""
    token_id: str
    expires_at: datetime
    token: str = field(repr=False)
    """The token itself, to be sent on."""
    generation: int = 0
    """The user's generation when the token was issued: all tokens of one generation can be revoked together."""

    @property
    def is_service(self) -> bool:
        """Tell whether a service calls for itself; a token for everyone is a user's, whatever roles it claims."""
        return SERVICE_ROLE in self.roles and self.audience != SHARED_AUDIENCE


class TokenVerifier(Protocol):
    """Turns tokens into principals; `JwtVerifier` is the usual one, and a service may put its own checks around it."""

    async def verify(self, token: str) -> Principal:
        """Return who calls.

        Raises:
            UnauthenticatedError: The token isn't good; the reason says why.
            UnavailableError: It can't be told now.
        """
        ...


class JwtVerifier:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, keys: PublicKeys, issuer: str, audience: str, clock: Clock) -> None:
        """Trust `issuer`, whose keys are `keys`, and accept what is meant for `audience` or for everyone.

        Args:
            keys: The issuer's public keys.
            issuer: The exact `iss` of its tokens.
            audience: This service's name.
            clock: Tells whether a token is expired.
        """
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[Principal, datetime]] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Return who calls.

        Raises:
            UnauthenticatedError: With the reason token_missing, token_malformed, token_expired, token_not_yet_valid,
                token_forged, token_wrong_audience or token_wrong_issuer.
            UnavailableError: The issuer's keys can't be had now.
        """
        if not token:
            raise UnauthenticatedError("A bearer token is required.", reason="token_missing")
        remembered = self._recall(token)
        if remembered is not None:
            return remembered
        principal = self._principal(token, await genuine_claims(parsed(token), self._keys, RULES))
        self._remember(token, principal)
        return principal

    def _principal(self, token: str, claims: dict[str, Any]) -> Principal:
        if text(claims, "iss") != self._issuer:
            raise UnauthenticatedError("The token is from another issuer.", reason="token_wrong_issuer")
        audience = self._matched_audience(claims)
        expires_at = check_times(claims, self._clock.now())
        return Principal(
            subject=text(claims, "sub"),
            roles=_roles(claims),
            audience=audience,
            token_id=text(claims, "jti"),
            expires_at=expires_at,
            token=token,
            generation=_generation(claims),
        )

    def _matched_audience(self, claims: dict[str, Any]) -> str:
        audiences = audiences_of(claims)
        for accepted in (self._audience, SHARED_AUDIENCE):
            if accepted in audiences:
                return accepted
        raise UnauthenticatedError("The token is meant for another service.", reason="token_wrong_audience")

    def _recall(self, token: str) -> Principal | None:
        entry = self._remembered.get(token)
        if entry is None:
            return None
        principal, until = entry
        if self._clock.now() >= until:
            del self._remembered[token]
            return None
        self._remembered.move_to_end(token)
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        until = min(principal.expires_at, self._clock.now() + timedelta(seconds=REMEMBERED_SECONDS_MAX))
        self._remembered[token] = (principal, until)
        while len(self._remembered) > REMEMBERED_TOKENS_MAX:
            self._remembered.popitem(last=False)


def bearer_token(authorization: str | None) -> str:
    """Take the token out of an Authorization header.

    Raises:
        UnauthenticatedError: There is none (token_missing), or the header has another form (token_malformed).
    """
    if not authorization:
        raise UnauthenticatedError("A bearer token is required.", reason="token_missing")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or " " in token:
        raise malformed("The Authorization header must be `Bearer` and a token.")
    return token


def _generation(claims: dict[str, Any]) -> int:
    generation = claims.get(GENERATION_CLAIM, 0)
    if isinstance(generation, bool) or not isinstance(generation, int) or generation < 0:
        raise malformed(f"The token's `{GENERATION_CLAIM}` isn't a count.")
    return generation


def _roles(claims: dict[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise malformed("The token's `roles` aren't a list of texts.")
    return frozenset(roles)
