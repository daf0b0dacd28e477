"""Signs in who comes with an ID token of another issuer: from there on there are only tokens of our own."""

from services.gateway.id_tokens import Asked, IdTokenVerifier
from services.gateway.ports import ExternalIdentities, Session
from services.gateway.revocation import Revocations


class ExternalSignIns:
    """Exchanges ID tokens for sessions."""

    def __init__(self, id_tokens: IdTokenVerifier, identities: ExternalIdentities, revocations: Revocations) -> None:
        """Believe what `id_tokens` verifies."""
        self._id_tokens = id_tokens
        self._identities = identities
        self._revocations = revocations

    async def sign_in(self, id_token: str, *, asked: Asked | None = None) -> Session:
        """Begin a session of whom the token names; `asked` says what it must be the answer to.

        Raises:
            UnauthenticatedError: The token isn't good; the reason says why.
            ForbiddenError: `email_not_verified`, `user_not_registered` or `account_not_linkable`.
            UnavailableError: The issuer's keys can't be had, or orders can't tell.
        """
        person = await self._id_tokens.verify(id_token, asked=asked)
        session, revoked = await self._identities.sign_in_externally(
            person, tokens_expire_at=self._revocations.last_token_ends_at()
        )
        if revoked is not None:
            await self._revocations.share(revoked)
        return session
