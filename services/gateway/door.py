"""Who may come in: a token of ours, good now, and not revoked."""

from services.gateway.revocation import Revocations
from services.runtime.clock import Clock
from services.runtime.errors import ForbiddenError, UnauthenticatedError
from services.runtime.jwt import Principal, TokenVerifier


class DoorVerifier:
    """Fits `TokenVerifier`: the usual checks, the exact end (the issuer needs no leeway), and revocation."""

    def __init__(self, tokens: TokenVerifier, revocations: Revocations, clock: Clock) -> None:
        """Check signatures with `tokens`."""
        self._tokens = tokens
        self._revocations = revocations
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Return who calls.

        Raises:
            UnauthenticatedError: As the usual verifier, and token_revoked.
            UnavailableError: Revocation can't be told, and that closes the door.
        """
        principal = await self._tokens.verify(token)
        if principal.expires_at <= self._clock.now():
            raise UnauthenticatedError("The token is expired.", reason="token_expired")
        if await self._revocations.is_revoked(principal):
            raise UnauthenticatedError("The token was revoked.", reason="token_revoked")
        return principal


def require_user(principal: Principal) -> Principal:
    """Let only people pass.

    Raises:
        ForbiddenError: A service calls.
    """
    if principal.is_service:
        raise ForbiddenError("Only a user may call this.", reason="user_required")
    return principal
