"""The door for requests of new passwords: they are taken at once and looked into later.

Whether there is such a user shows in nothing that the caller sees: not in the answer, and not in its time. What waits
is in memory only, since a token must not be written down; who waited for one when the process ended asks again.
"""

import asyncio
from typing import Final

import structlog

from services.orders.domain.password_reset import IssuedReset
from services.orders.identity_ports import IdentityStore, ResetDelivery
from services.orders.metrics import ResetMetrics
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.runtime.backoff import jittered_seconds
from services.runtime.clock import Clock
from services.runtime.errors import RejectedError, TradeFlowError, UnavailableError

WAITING_MAX: Final = 256
"""Requests that may wait; more are told to come back, whoever they are for."""

ATTEMPTS_MAX: Final = 4
"""How often a delivery is tried: for about 15 seconds, since somebody waits for it."""

FIRST_PAUSE_SECONDS: Final = 2.0
"""The longest first pause between two attempts."""

LONGEST_PAUSE_SECONDS: Final = 8.0
"""The longest pause between two attempts."""

logger = structlog.get_logger(__name__)


class ResettingLoop:
    """Makes tokens for those who asked and hands them to the delivery, one after the other."""

    def __init__(
        self, *, store: IdentityStore, delivery: ResetDelivery | None, clock: Clock, metrics: ResetMetrics
    ) -> None:
        """Begin with nobody waiting; without a delivery, no token is made."""
        self._store = store
        self._delivery = delivery
        self._clock = clock
        self._metrics = metrics
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)

    def ask(self, email: str) -> None:
        """Take a request.

        Raises:
            UnavailableError: Too many wait.
        """
        try:
            self._waiting.put_nowait(email)
        except asyncio.QueueFull as error:
            raise UnavailableError("Too many people ask for new passwords.", reason="too_many_resets") from error

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            email = await self._waiting.get()
            try:
                await self._look_into(email)
            except TradeFlowError as error:
                self._metrics.count("failed")
                logger.warning("password_reset_failed", error=error.reason)

    async def _look_into(self, email: str) -> None:
        if self._delivery is None:
            return
        try:
            issued = await issue_password_reset(email, store=self._store, clock=self._clock)
        except RejectedError:
            return  # nobody has this address, or it is none, or its owner has no password here
        await self._deliver(self._delivery, issued)

    async def _deliver(self, delivery: ResetDelivery, issued: IssuedReset) -> None:
        for attempt in range(ATTEMPTS_MAX):
            try:
                await delivery.deliver(issued)
            except UnavailableError:
                if attempt == ATTEMPTS_MAX - 1:
                    raise
                await self._clock.sleep(_pause_seconds(attempt))
            else:
                self._metrics.count("delivered")
                return


def _pause_seconds(attempt: int) -> float:
    return jittered_seconds(attempt, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
