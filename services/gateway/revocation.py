"""Whether an access token was revoked: asked at the door for each call, so it asks Redis, and knows what to do without.

A token is revoked by its id, or with all others of its user's generation: both are entries of one list.

The durable list is kept by orders. Redis is a complete copy or says that it isn't; then the list is read again. What
this replica knows to be revoked stays revoked, whatever Redis says.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import structlog

from services.gateway.ports import RevocationCache, RevocationList, RevokedToken
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.jwt import Principal
from services.runtime.signed_claims import LEEWAY_SECONDS

logger = structlog.get_logger(__name__)

FailureMode = Literal["open", "closed"]
"""What to do when it can't be told: let the call pass, or answer 503."""

REREAD_SECONDS = 5.0
"""The least time between two readings of the durable list by one replica."""

RETRY_SECONDS = 0.5
"""The least time after a reading that failed: until one succeeds, a revoked token may pass."""

READ_SECONDS_MAX = 2.0
"""How long one reading may take: a caller waits for it."""


ISSUING_SECONDS_MAX = 60
"""How much later than a sign-out everywhere a token of the generation that ended may still be signed: an answer of
orders that was on its way then, and the difference of two clocks."""


def tokens_of_generation(user_id: str, generation: int) -> str:
    """Name all tokens of a user's generation, as the durable list does: see identity_service.proto."""
    return f"{user_id}/{generation}"


class Revocations:
    """Remembers and tells which tokens are revoked."""

    def __init__(
        self,
        *,
        durable: RevocationList,
        cache: RevocationCache,
        clock: Clock,
        failure_mode: FailureMode,
        user_token_seconds: int,
    ) -> None:
        """Begin with nothing known; `user_token_seconds` is how long users' access tokens are good."""
        self._durable = durable
        self._cache = cache
        self._clock = clock
        self._failure_mode = failure_mode
        self._user_token_seconds = user_token_seconds
        self._known: dict[str, RevokedToken] = {}
        self._reading = asyncio.Lock()
        self._read_at_seconds = float("-inf")
        self._read_well = False

    async def revoke(self, token: RevokedToken) -> None:
        """Revoke a token, durably, here at once and in the other replicas within a minute at most.

        Raises:
            UnavailableError: Orders can't be reached: the token is not revoked.
        """
        await self._durable.revoke_access_token(token)
        await self.share(token)

    async def revoke_all(self, user_id: str) -> None:
        """End all sessions of a user and revoke every token issued until now, as surely and as soon as `revoke` does.

        Raises:
            UnavailableError: Orders can't be reached: perhaps nothing has ended.
        """
        await self.share(await self._durable.end_all_sessions(user_id, tokens_expire_at=self.last_token_ends_at()))

    async def share(self, token: RevokedToken) -> None:
        """Tell this replica and the others of a revocation that is durable already."""
        self._remember([token])
        try:
            await self._cache.add([token])
        except UnavailableError:
            logger.warning("revocation_not_shared_yet", token_id=token.token_id)

    def last_token_ends_at(self) -> datetime:
        """Tell when all access tokens issued until now have ended by themselves."""
        return self._clock.now() + timedelta(seconds=self._user_token_seconds + ISSUING_SECONDS_MAX)

    async def is_revoked(self, principal: Principal) -> bool:
        """Tell whether a caller's token is revoked, by itself or with its generation.

        Raises:
            UnavailableError: It can't be told, and the failure mode is closed.
        """
        names = (principal.token_id, tokens_of_generation(principal.subject, principal.generation))
        if self._knows(names):
            return True
        try:
            answer = await self._cache.look_up(names)
        except UnavailableError:
            answer = None
        if answer is not None:
            return answer
        if not await self._read_again() and self._failure_mode == "closed":
            raise UnavailableError("Revoked tokens can't be read now.", reason="revocations_unavailable")
        return self._knows(names)

    async def read_at_start(self) -> None:
        """Read the durable list once, if it can be had."""
        await self._read_again()

    def _knows(self, names: Sequence[str]) -> bool:
        return any(name in self._known for name in names)

    async def _read_again(self) -> bool:
        """Read the durable list into memory and the cache, unless that was done a moment ago; say if it is known."""
        async with self._reading:
            pause_seconds = REREAD_SECONDS if self._read_well else RETRY_SECONDS
            if time.monotonic() - self._read_at_seconds < pause_seconds:
                return self._read_well
            self._read_well = await self._read()
            self._read_at_seconds = time.monotonic()
            return self._read_well

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                tokens = await self._durable.list_revoked_access_tokens()
        except (TradeFlowError, TimeoutError) as error:
            logger.warning("revocations_not_read", error=str(error))
            return False
        self._remember(tokens)
        try:
            await self._cache.add(tokens)
            await self._cache.mark_complete()
        except UnavailableError:
            logger.info("revocations_kept_in_memory_only", count=len(tokens))
        return True

    def _remember(self, tokens: list[RevokedToken]) -> None:
        self._known.update({token.token_id: token for token in tokens})
        forget_before = self._clock.now() - timedelta(seconds=LEEWAY_SECONDS)
        self._known = {key: token for key, token in self._known.items() if token.expires_at >= forget_before}
