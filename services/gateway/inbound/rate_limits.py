"""How often who may call: counted before anything else happens, refused with 429, told in headers.

Runs before authentication, so that guessing tokens is counted too; whose token it is, it reads from the token itself.
Source of the headers: draft-ietf-httpapi-ratelimit-headers-10.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, cast

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.inbound.client_address import Network, client_address, quota_address
from services.gateway.metrics import GatewayMetrics
from services.gateway.rate_policies import (
    Quota,
    QuotaState,
    RatePolicy,
    RouteClass,
    limit_header,
    policy_header,
    quotas_of,
)
from services.runtime.errors import RateLimitedError, TradeFlowError, UnavailableError
from services.runtime.http_errors import problem_of_error
from services.runtime.jwt import TokenVerifier, bearer_token

ROUTE_CLASS_OPTION = "route_class"
"""The route option that names its class; without it, the method decides."""

UNCOUNTED_OPTION = "uncounted"
"""The route option of what machines ask all the time: the public keys."""

UNCOUNTED_PATHS = ("/healthz", "/readyz", "/metrics", "/schema")
"""Probes and descriptions; every path below them too."""

_READING_METHODS = {"GET", "HEAD", "OPTIONS"}


class RateLimiter(Protocol):
    """Counts calls."""

    async def take(self, quotas: Sequence[Quota]) -> list[QuotaState]:
        """Take one call from all of these quotas, or from none when one of them is used up.

        Raises:
            UnavailableError: It can't be counted now.
        """
        ...


class RateLimits:
    """The policies and what becomes of a call under them."""

    def __init__(
        self,
        limiter: RateLimiter,
        policies: tuple[RatePolicy, ...],
        *,
        failure_mode: Literal["open", "closed"],
        metrics: GatewayMetrics,
    ) -> None:
        """Apply `policies`, counted by `limiter`."""
        self._limiter = limiter
        self._policies = policies
        self._failure_mode = failure_mode
        self._metrics = metrics

    async def admit(self, *, route_class: RouteClass, user_id: str | None, address: str | None) -> dict[str, str]:
        """Count one call for whom we know it is from, and return the headers that tell what is left.

        Raises:
            ProblemDetailsException: 429 with those headers, when the call is over a limit.
            UnavailableError: It can't be counted, and that closes the door.
        """
        counted = None if address is None else quota_address(address)
        quotas = quotas_of(self._policies, route_class=route_class, user_id=user_id, address=counted)
        try:
            states = await self._limiter.take(quotas)
        except UnavailableError as error:
            self._metrics.rate_unknown.labels(self._failure_mode).inc()
            if self._failure_mode == "open":
                return {}
            raise UnavailableError("Calls can't be counted now.", reason="rate_limiter_unavailable") from error
        if not states:
            return {}
        headers = {"RateLimit-Policy": policy_header(states), "RateLimit": limit_header(states)}
        refused = [state for state in states if not state.allowed]
        if refused:
            self._refuse(refused, headers)
        return headers

    def _refuse(self, refused: list[QuotaState], headers: dict[str, str]) -> None:
        slowest = max(refused, key=lambda state: state.retry_after_seconds)
        policy = slowest.quota.policy
        self._metrics.rate_limited.labels(policy.name).inc()
        problem = problem_of_error(
            RateLimitedError(
                f"At most {policy.limit} calls in {policy.window_seconds} s ({policy.name}).",
                retry_after_seconds=slowest.retry_after_seconds,
                details={"policy": policy.name, "limit": str(policy.limit), "window": str(policy.window_seconds)},
            )
        )
        problem.headers = {**(problem.headers or {}), **headers}
        raise problem


class RateLimitsMiddleware:
    """Counts each HTTP request before its route's own work; WebSockets count themselves, before they are accepted."""

    def __init__(
        self, app: ASGIApp, *, limits: RateLimits, tokens: TokenVerifier, trusted_proxies: Sequence[Network]
    ) -> None:
        """Wrap `app`; `tokens` tells whose call it is."""
        self._app = app
        self._limits = limits
        self._tokens = tokens
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != ScopeType.HTTP or _is_uncounted(scope):
            await self._app(scope, receive, send)
            return
        headers = await self._limits.admit(
            route_class=_route_class(scope),
            user_id=await self._user_id(scope),
            address=client_address(scope, self._trusted_proxies),
        )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableScopeHeaders.from_message(message)
                for name, value in headers.items():
                    response_headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _user_id(self, scope: Scope) -> str | None:
        """Tell whose token a request has; a bad one is refused later, and counts by its address only."""
        authorization = Headers.from_scope(scope).get("authorization")
        if not authorization:
            return None
        try:
            return (await self._tokens.verify(bearer_token(authorization))).subject
        except TradeFlowError:
            return None


def _is_uncounted(scope: Scope) -> bool:
    path = scope["path"]
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in UNCOUNTED_PATHS):
        return True
    return bool(scope["route_handler"].opt.get(UNCOUNTED_OPTION))


def _route_class(scope: Scope) -> RouteClass:
    named = scope["route_handler"].opt.get(ROUTE_CLASS_OPTION)
    if named is not None:
        return cast("RouteClass", named)
    return "read" if scope.get("method") in _READING_METHODS else "write"
