"""How often who may call: counted before anything else happens, refused with 429, told in headers.

Runs before authentication, so that guessing tokens is counted too; whose token it is, it reads from the token itself.
Source of the headers: draft-ietf-httpapi-ratelimit-headers-10.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, cast

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.inbound.client_address import Network, client_address, quota_address
from services.gateway.inbound.untrusted_forwarding import UntrustedForwarding
from services.gateway.metrics import GatewayMetrics
from services.gateway.rate_policies import (
    Call,
    Quota,
    QuotaState,
    RateRules,
    RouteClass,
    limit_header,
    policy_header,
    quotas_of,
)
from services.runtime.errors import RateLimitedError, TradeFlowError, UnavailableError
from services.runtime.http_errors import problem_of_error
from services.runtime.jwt import Principal, TokenVerifier, bearer_token

ROUTE_CLASS_OPTION = "route_class"
"""The route option that names its class; without it, the method decides."""

UNCOUNTED_OPTION = "uncounted"
"""The route option of what machines ask all the time: the public keys."""

UNCOUNTED_PATHS = ("/healthz", "/readyz", "/metrics", "/schema")
"""Probes and descriptions; every path below them too."""

RATE_LIMITED = {429: "rate_limited: come back after Retry-After"}
"""What each counted route may answer."""

_READING_METHODS = {"GET", "HEAD", "OPTIONS"}


class RateLimiter(Protocol):
    """Counts calls."""

    async def take(self, quotas: Sequence[Quota]) -> list[QuotaState]:
        """Take one call from all of these quotas, or from none when one of them is used up.

        Raises:
            UnavailableError: It can't be counted now.
        """
        ...

    async def give_back(self, quotas: Sequence[Quota]) -> None:
        """Take one call out of each of these counts again.

        Raises:
            UnavailableError: Perhaps it stays counted.
        """
        ...


class RateLimits:
    """The policies and what becomes of a call under them."""

    def __init__(self, limiter: RateLimiter, rules: Callable[[], RateRules], *, metrics: GatewayMetrics) -> None:
        """Apply the rules that hold at the time of each call, counted by `limiter`."""
        self._limiter = limiter
        self._rules = rules
        self._metrics = metrics

    async def admit(self, call: Call) -> dict[str, str]:
        """Count one call for whom we know it is from, and return the headers that tell what is left.

        Raises:
            ProblemDetailsException: 429 with those headers, when the call is over a limit.
            UnavailableError: It can't be counted, and that closes the door.
        """
        counted = call if call.address is None else replace(call, address=quota_address(call.address))
        return await self.take(quotas_of(self._rules().policies, counted))

    async def take(self, quotas: Sequence[Quota]) -> dict[str, str]:
        """Count one call in each of these quotas, or in none; returns and raises as `admit`."""
        failure_mode = self._rules().failure_mode
        try:
            states = await self._limiter.take(quotas)
        except UnavailableError as error:
            self._metrics.rate_unknown.labels(failure_mode).inc()
            if failure_mode == "open":
                return {}
            raise UnavailableError("Calls can't be counted now.", reason="rate_limiter_unavailable") from error
        told = [state for state in states if not state.quota.policy.dry_run]
        self._note_dry_runs(states)
        if not told:
            return {}
        headers = {"RateLimit-Policy": policy_header(told), "RateLimit": limit_header(told)}
        refused = [state for state in told if not state.allowed]
        if refused:
            self._refuse(refused, headers)
        return headers

    async def give_back(self, quotas: Sequence[Quota]) -> None:
        """Count a call no longer, as far as Redis can be reached."""
        with contextlib.suppress(UnavailableError):
            await self._limiter.give_back(quotas)

    def _note_dry_runs(self, states: list[QuotaState]) -> None:
        for state in states:
            if state.quota.policy.dry_run and not state.allowed:
                self._metrics.rate_would_limit.labels(state.quota.policy.name).inc()

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
        self,
        app: ASGIApp,
        *,
        limits: RateLimits,
        tokens: TokenVerifier,
        trusted_proxies: Sequence[Network],
        untrusted: UntrustedForwarding,
    ) -> None:
        """Wrap `app`; `tokens` tells whose call it is, `untrusted` notes who can't tell from where."""
        self._app = app
        self._limits = limits
        self._tokens = tokens
        self._trusted_proxies = trusted_proxies
        self._untrusted = untrusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != ScopeType.HTTP or _is_uncounted(scope):
            await self._app(scope, receive, send)
            return
        self._untrusted.note(scope)
        principal = await self._principal(scope)
        headers = await self._limits.admit(
            Call(
                route_class=_route_class(scope),
                path=scope["path"],
                user_id=principal.subject if principal else None,
                roles=principal.roles if principal else frozenset(),
                address=client_address(scope, self._trusted_proxies),
            )
        )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableScopeHeaders.from_message(message)
                for name, value in headers.items():
                    response_headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _principal(self, scope: Scope) -> Principal | None:
        """Tell whose token a request has; a bad one is refused later, and counts by its address only."""
        authorization = Headers.from_scope(scope).get("authorization")
        if not authorization:
            return None
        try:
            return await self._tokens.verify(bearer_token(authorization))
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
