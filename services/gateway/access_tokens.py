"""Issues access tokens: short-lived JWTs that every service verifies by the gateway's JWKS (RFC 9068)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.gateway.keys import KeyRing
from services.runtime.clock import Clock
from services.runtime.ids import new_id
from services.runtime.jwt import GENERATION_CLAIM

USER_AUDIENCE = "tradeflow"
"""Users' tokens are good at every service."""

OWN_CLIENT_ID = "gateway"
"""The subject of the gateway's own service tokens. No client of /oauth/token may have it: orders trusts it alone."""

RENEW_BEFORE_SECONDS = 30.0
"""How long before its end a service token is replaced: longer than any call with it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token and what its receiver wants to know."""

    token: str = field(repr=False)
    token_id: str
    expires_at: datetime
    expires_in_seconds: int


class TokenIssuer:
    """Signs tokens of users and of services."""

    def __init__(
        self, keys: KeyRing, *, issuer: str, clock: Clock, user_token_seconds: int, service_token_seconds: int
    ) -> None:
        """Sign with whichever key is active at the time."""
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._user_token_seconds = user_token_seconds
        self._service_token_seconds = service_token_seconds

    def user_token(self, *, user_id: str, roles: Iterable[str], generation: int = 0) -> IssuedToken:
        """Issue a user's token, in the generation that orders told together with the user."""
        of_generation = {GENERATION_CLAIM: generation}
        return self._issue(user_id, USER_AUDIENCE, sorted(roles), self._user_token_seconds, of_generation)

    def service_token(self, *, client_id: str, audience: str) -> IssuedToken:
        """Issue a service's token, good at one other service."""
        return self._issue(client_id, audience, ["service"], self._service_token_seconds)

    def _issue(
        self, subject: str, audience: str, roles: list[str], seconds: int, more: Mapping[str, int] | None = None
    ) -> IssuedToken:
        now = self._clock.now().replace(microsecond=0)
        issued_at = int(now.timestamp())
        token_id = str(new_id())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": audience,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + seconds,
            "jti": token_id,
            "roles": roles,
            **(more or {}),
        }
        return IssuedToken(
            token=self._keys.sign(claims),
            token_id=token_id,
            expires_at=now + timedelta(seconds=seconds),
            expires_in_seconds=seconds,
        )


class OwnServiceTokens:
    """The gateway's tokens for its own calls: one for each audience, replaced shortly before its end."""

    def __init__(self, issuer: TokenIssuer, clock: Clock) -> None:
        """Begin without tokens."""
        self._issuer = issuer
        self._clock = clock
        self._tokens: dict[str, IssuedToken] = {}

    async def token_for(self, audience: str) -> str:
        """Return a token that is good for another half a minute at least."""
        token = self._tokens.get(audience)
        now = self._clock.now()
        if token is None or token.expires_at - now < timedelta(seconds=RENEW_BEFORE_SECONDS):
            token = self._issuer.service_token(client_id=OWN_CLIENT_ID, audience=audience)
            self._tokens[audience] = token
        return token.token
