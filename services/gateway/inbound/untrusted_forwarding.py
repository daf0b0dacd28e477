"""Notices a load balancer in front that nobody named: then all its callers look like one.

They share the limits of one address, and the console's cookie isn't `Secure`, since what X-Forwarded-For and
X-Forwarded-Proto say is believed from trusted proxies alone. Anybody may send these headers, so this is told to those
who run the gateway and changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from litestar.types import Scope

from services.gateway.inbound.client_address import Network, is_forwarded, is_from_trusted_proxy
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

TOLD_FOR: Final = timedelta(minutes=10)
"""How long one call is told of, and how often there is a line in the log: calls come by the thousand."""


class UntrustedForwarding:
    """Whether calls came lately through a proxy whose word isn't taken."""

    def __init__(self, trusted_proxies: Sequence[Network], clock: Clock) -> None:
        """Compare with these proxies."""
        self._trusted_proxies = trusted_proxies
        self._clock = clock
        self._seen_at: datetime | None = None
        self._logged_at: datetime | None = None

    def note(self, scope: Scope) -> None:
        """Look at one call."""
        if not is_forwarded(scope) or is_from_trusted_proxy(scope, self._trusted_proxies):
            return
        now = self._clock.now()
        self._seen_at = now
        if self._logged_at is None or now >= self._logged_at + TOLD_FOR:
            self._logged_at = now
            client = scope.get("client")
            logger.warning(
                "forwarded_by_untrusted_peer",
                peer=client[0] if client else None,
                setting="TRADEFLOW_GATEWAY_TRUSTED_PROXIES",
            )

    async def check(self) -> None:
        """Fit a hint of readiness.

        Raises:
            UnavailableError: A call came so lately.
        """
        if self._seen_at is not None and self._clock.now() < self._seen_at + TOLD_FOR:
            raise UnavailableError(
                "X-Forwarded-For comes from what isn't one of the trusted proxies: its callers share one address",
                reason="forwarded_by_untrusted_peer",
            )
