"""The console's session: the refresh token in a cookie that no script reads, the access token in the page's memory.

Whatever a script injected into the page could do, it can't take the session away with it. Programs sign in at `/auth`
as ever; these doors are for the page alone, and let nobody in who doesn't come from it: the cookie is `SameSite=Strict`
and sent to these paths only, and each call must name this very host as its `Origin`, which no script of another site
can.

Source: OWASP's cheat sheets on cross-site request forgery and session management.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from litestar import Request, Response, delete, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import JSONBody

from services.gateway.access_tokens import TokenIssuer
from services.gateway.inbound.auth_api import NO_STORE, RENEWAL, SIGN_IN, Login
from services.gateway.inbound.client_address import Network, is_from_trusted_proxy
from services.gateway.inbound.sign_ins import SignIns
from services.gateway.ports import Identities, RevokedToken, Session
from services.gateway.revocation import Revocations
from services.runtime.errors import ForbiddenError, RejectedError, UnauthenticatedError
from services.runtime.http_errors import problem_of_error
from services.runtime.jwt import TokenVerifier, bearer_token

PATH: Final = "/console/session"
"""The only paths that get the cookie."""

COOKIE: Final = "tradeflow_session"
"""The cookie's name; `__Secure-` stands before it on HTTPS, where browsers then insist on `Secure`."""


ATTEMPT_COOKIE: Final = "tradeflow_sign_in"
"""As `COOKIE`; see `console_external_sign_in.py`."""


class ConsoleUser(msgspec.Struct, frozen=True):
    """Who is signed in."""

    user_id: str
    email: str
    roles: tuple[str, ...]


class ConsoleSession(msgspec.Struct, frozen=True):
    """What the page keeps in its memory."""

    access_token: str
    expires_in: int
    """Seconds."""
    user: ConsoleUser


class SessionCookies:
    """Writes and reads the cookie, as the way that a call came says."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        """Believe these proxies about the scheme and the host."""
        self._trusted_proxies = trusted_proxies

    def read(self, request: Request[Any, Any, Any]) -> str | None:
        """Return the refresh token that came with a call."""
        return cookie_of(request, self._name(request))

    def keeping(self, request: Request[Any, Any, Any], refresh_token: str) -> Cookie:
        """Make a cookie that ends when the browser does."""
        return Cookie(
            key=self._name(request),
            value=refresh_token,
            path=PATH,
            httponly=True,
            samesite="strict",
            secure=self.is_secure(request),
        )

    def forgetting(self, request: Request[Any, Any, Any]) -> Cookie:
        """Make the cookie that takes its place and ends at once."""
        kept = self.keeping(request, "")
        kept.max_age = 0
        return kept

    def require_same_origin(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        """Guard that lets only the page's own scripts pass.

        Raises:
            ForbiddenError: The call names another origin, or none.
        """
        _, _, host = connection.headers.get("origin", "").partition("://")
        site = connection.headers.get("sec-fetch-site", "same-origin")
        if not host or host != self._host(connection) or site != "same-origin":
            raise ForbiddenError("This door is for the console's own page.", reason="cross_site_request")

    def attempt_name(self, request: Request[Any, Any, Any]) -> str:
        """Name the cookie of a sign-in elsewhere that is under way."""
        return self._name(request, ATTEMPT_COOKIE)

    def _name(self, request: Request[Any, Any, Any], name: str = COOKIE) -> str:
        return f"__Secure-{name}" if self.is_secure(request) else name

    def is_secure(self, connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
        """Tell whether the browser came by HTTPS."""
        return self._told(connection, "x-forwarded-proto", connection.scope["scheme"]) == "https"

    def origin(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        """Name this place as the browser does."""
        return f"{'https' if self.is_secure(connection) else 'http'}://{self._host(connection)}"

    def _host(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        return self._told(connection, "x-forwarded-host", connection.headers.get("host", ""))

    def _told(self, connection: ASGIConnection[Any, Any, Any, Any], header: str, seen: str) -> str:
        believed = is_from_trusted_proxy(connection.scope, self._trusted_proxies)
        return connection.headers.get(header, seen) if believed else seen


def cookie_of(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return what a cookie of ours says, as it stands there: none of them needs quotes.

    The rest of the header isn't parsed. The standard library's unquoting, which the framework reads all cookies with,
    takes seconds for a long one in Python before 3.12.6 (CVE-2024-7592).
    """
    pairs = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
    values = [value.strip() for key, _, value in pairs if key.strip() == name]
    return values[-1] if values else None


def console_session_routes(
    *,
    identities: Identities,
    sign_ins: SignIns,
    issuer: TokenIssuer,
    revocations: Revocations,
    tokens: TokenVerifier,
    cookies: SessionCookies,
) -> list[HTTPRouteHandler]:
    """Make the routes."""
    guards: list[Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]] = [cookies.require_same_origin]
    common: dict[str, Any] = {"guards": guards, "include_in_schema": False}

    @post(PATH, status_code=200, cache_control=NO_STORE, opt=SIGN_IN, **common)
    async def begin_session(request: Request[Any, Any, Any], data: JSONBody[Login]) -> Response[ConsoleSession]:
        """Sign in."""
        session = await sign_ins.sign_in(request.scope, email=data.email, password=data.password)
        return _opened(issuer, session, cookies.keeping(request, session.refresh_token))

    @post(f"{PATH}/renewal", status_code=200, cache_control=NO_STORE, opt=RENEWAL, **common)
    async def renew_session(request: Request[Any, Any, Any]) -> Response[ConsoleSession | None]:
        """Exchange the cookie; 204 without one: nobody is signed in, which is no mistake."""
        refresh_token = cookies.read(request)
        if not refresh_token:
            return Response(None, status_code=204)
        try:
            session = await identities.refresh(refresh_token)
        except RejectedError as error:
            problem = problem_of_error(error)
            problem.headers = {**(problem.headers or {}), "Set-Cookie": _header(cookies.forgetting(request))}
            raise problem from error
        return _opened(issuer, session, cookies.keeping(request, session.refresh_token))

    @delete(PATH, status_code=204, opt=SIGN_IN, **common)
    async def end_session(request: Request[Any, Any, Any]) -> Response[None]:
        """End the session, and revoke the access token that this call was made with, if it is still good."""
        refresh_token = cookies.read(request)
        if refresh_token:
            await identities.end_session(refresh_token)
        with contextlib.suppress(UnauthenticatedError):
            principal = await tokens.verify(bearer_token(request.headers.get("authorization")))
            await revocations.revoke(RevokedToken(token_id=principal.token_id, expires_at=principal.expires_at))
        return Response(None, status_code=204, cookies=[cookies.forgetting(request)])

    return [begin_session, renew_session, end_session]


def _opened(issuer: TokenIssuer, session: Session, cookie: Cookie) -> Response[Any]:
    user = session.user
    issued = issuer.user_token(user_id=user.user_id, roles=user.roles, generation=user.generation)
    body = ConsoleSession(
        access_token=issued.token,
        expires_in=issued.expires_in_seconds,
        user=ConsoleUser(user_id=user.user_id, email=user.email, roles=user.roles),
    )
    return Response(body, cookies=[cookie])


def _header(cookie: Cookie) -> str:
    return cookie.to_header(header="")
