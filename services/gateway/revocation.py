"""Whether an access token was revoked: asked at the door for each call, so it asks Redis, and knows what to do without.

The durable list is kept by orders. Redis is a complete copy or says that it isn't; then the list is read again. What
this replica knows to be revoked stays revoked, whatever Redis says.
"""

import asyncio
import time
from datetime import timedelta
from typing import Literal

import structlog

from services.gateway.ports import RevocationCache, RevocationList, RevokedToken
from services.runtime.clock import Clock
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.jwt import LEEWAY_SECONDS

logger = structlog.get_logger(__name__)

FailureMode = Literal["open", "closed"]
"""What to do when it can't be told: let the call pass, or answer 503."""

REREAD_SECONDS = 5.0
"""The least time between two readings of the durable list by one replica."""

RETRY_SECONDS = 0.5
"""The least time after a reading that failed: until one succeeds, a revoked token may pass."""

READ_SECONDS_MAX = 2.0
"""How long one reading may take: a caller waits for it."""


class Revocations:
    """Remembers and tells which tokens are revoked."""

    def __init__(
        self, *, durable: RevocationList, cache: RevocationCache, clock: Clock, failure_mode: FailureMode
    ) -> None:
        """Begin with nothing known."""
        self._durable = durable
        self._cache = cache
        self._clock = clock
        self._failure_mode = failure_mode
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
        self._remember([token])
        try:
            await self._cache.add([token])
        except UnavailableError:
            logger.warning("revocation_not_shared_yet", token_id=token.token_id)

    async def is_revoked(self, token_id: str) -> bool:
        """Tell whether a token is revoked.

        Raises:
            UnavailableError: It can't be told, and the failure mode is closed.
        """
        if token_id in self._known:
            return True
        try:
            answer = await self._cache.look_up(token_id)
        except UnavailableError:
            answer = None
        if answer is not None:
            return answer
        if not await self._read_again() and self._failure_mode == "closed":
            raise UnavailableError("Revoked tokens can't be read now.", reason="revocations_unavailable")
        return token_id in self._known

    async def read_at_start(self) -> None:
        """Read the durable list once, if it can be had."""
        await self._read_again()

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
