"""Who calls over HTTP: bearer tokens, checked before any handler runs unless its route says that it is public."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.exceptions import WebSocketException
from litestar.handlers import BaseRouteHandler
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp, Scope

from services.runtime.errors import ForbiddenError, TradeFlowError, UnauthenticatedError
from services.runtime.jwt import Principal, TokenVerifier, bearer_token

PUBLIC_OPTION = "public"
"""The route option that asks for no token."""

PUBLIC = {PUBLIC_OPTION: True}
"""Write `@get("/path", opt=PUBLIC)` on a handler, or give it to a Router or Controller, to ask for no token."""

Caller = NamedDependency[Principal]
"""The type of a handler's parameter that must be called `principal`: who calls."""

CLOSE_CODE_UNAUTHORIZED = 3000
"""The WebSocket close code for a missing or bad token (IANA: Unauthorized).

Before a WebSocket is accepted there is nothing to close: then servers refuse its handshake with 403.
"""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Puts the Principal into `scope["user"]`, or refuses the request."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier) -> None:
        """Check tokens with `verifier`."""
        super().__init__(app, exclude_from_auth_key=PUBLIC_OPTION)
        self._verifier = verifier

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Verify the Authorization header.

        Raises:
            UnauthenticatedError: No token, or not a good one.
            UnavailableError: It can't be told now.
            WebSocketException: Either of them, on a WebSocket.
        """
        try:
            principal = await self._verifier.verify(bearer_token(connection.headers.get("authorization")))
        except TradeFlowError as error:
            if connection.scope["type"] == ScopeType.WEBSOCKET:
                raise WebSocketException(detail=error.reason, code=CLOSE_CODE_UNAUTHORIZED) from error
            raise
        return AuthenticationResult(user=principal, auth=principal.token)


def provide_principal(scope: Scope) -> Principal:
    """Give the caller to a handler that has a parameter `principal: Caller`.

    Raises:
        UnauthenticatedError: The route is public, so nobody was asked.
    """
    principal = scope.get("user")
    if not isinstance(principal, Principal):
        raise UnauthenticatedError("A bearer token is required.", reason="token_missing")
    return principal


def require_roles(*roles: str) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """Make a guard that lets callers pass who have one of the roles: `@post("/path", guards=[require_roles("x")])`."""

    # A plain function would be run in a thread.
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if provide_principal(connection.scope).roles.isdisjoint(roles):
            raise ForbiddenError(
                f"This needs the role {' or '.join(roles)}.",
                reason="role_required",
                details={"roles": " ".join(roles)},
            )

    return guard
