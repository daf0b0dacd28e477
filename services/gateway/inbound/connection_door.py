"""Who opens a connection for wallet events, and whether they may: the same for WebSockets and event streams.

A browser's WebSocket can't send an Authorization header, and a token in a URL would be written to logs; so a ticket of
one use stands for it.
"""

from collections.abc import Sequence
from typing import Any

from litestar.connection import ASGIConnection
from litestar.types import Scope

from services.gateway.door import require_user
from services.gateway.inbound.client_address import Network, client_address
from services.gateway.inbound.rate_limits import RateLimits
from services.gateway.ports import TicketStore
from services.gateway.rate_policies import Call
from services.runtime.errors import UnauthenticatedError
from services.runtime.jwt import Principal, TokenVerifier, bearer_token


class ConnectionDoor:
    """Authenticates and counts connections."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        tickets: TicketStore,
        limits: RateLimits,
        trusted_proxies: Sequence[Network],
    ) -> None:
        """Verify tokens, redeemed or shown, with `verifier`."""
        self._verifier = verifier
        self._tickets = tickets
        self._limits = limits
        self._trusted_proxies = trusted_proxies

    async def authenticate(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
        """Return who connects.

        Raises:
            UnauthenticatedError: No ticket and no token, or not a good one.
            UnavailableError: It can't be told now.
        """
        ticket = connection.query_params.get("ticket")
        if ticket is None:
            return require_user(await self._verifier.verify(bearer_token(connection.headers.get("authorization"))))
        token = await self._tickets.redeem(ticket)
        if token is None:
            raise UnauthenticatedError("The ticket is unknown, used or too old.", reason="ticket_invalid")
        return require_user(await self._verifier.verify(token))

    async def admit_address(self, scope: Scope) -> None:
        """Count the attempt by its address, before it is known whose it is.

        Raises:
            ProblemDetailsException: 429.
            UnavailableError: It can't be counted, and that closes the door.
        """
        address = client_address(scope, self._trusted_proxies)
        await self._limits.admit(Call(route_class="socket", path=scope["path"], address=address))

    async def admit_user(self, scope: Scope, owner: Principal) -> None:
        """Count the connection by its owner; raises as `admit_address`."""
        await self._limits.admit(
            Call(route_class="socket", path=scope["path"], user_id=owner.subject, roles=owner.roles)
        )
