"""The console's sign-in at another issuer: away to its page, back with a code, and into the console's own session.

What belongs together is in a cookie of ten minutes that only these paths get: the state that the issuer sends back,
the nonce that its token must hold, and PKCE's verifier. So no replica remembers anything, and a code that somebody else
slips into this browser finds nothing that fits. Unlike the session's cookie it must come along when the issuer's page
leads back here, and is `SameSite=Lax`.

Sources: OpenID Connect Core 1.0, section 3.1; RFC 9207 (`iss` beside the code); RFC 9700, section 4.7.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import Request, Response, get
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from services.gateway.id_tokens import Asked
from services.gateway.inbound.auth_api import NO_STORE, SIGN_IN
from services.gateway.inbound.console_session import SessionCookies, cookie_of
from services.gateway.inbound.external_sign_ins import ExternalSignIns
from services.gateway.ports import CodeIssuer, Session, SignInAttempt
from services.runtime.errors import TradeFlowError, UnauthenticatedError

PATH: Final = "/console/sign-in"
"""Behind it come the issuer's name, and `/callback`."""

ATTEMPT_SECONDS: Final = 600
"""How long somebody may look for the password over there."""

RANDOM_BYTES: Final = 32
"""256 bits; as text 43 characters, the shortest that PKCE takes for a verifier (RFC 7636, section 4.1)."""

REFUSED_PAGE: Final = "/#/sign-in?problem="
"""Where somebody reads why it didn't work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleIssuer:
    """An issuer that the page has a button for."""

    issuer: str
    codes: CodeIssuer


def console_external_sign_in_routes(
    *, issuers: Mapping[str, ConsoleIssuer], sign_ins: ExternalSignIns, cookies: SessionCookies
) -> list[HTTPRouteHandler]:
    """Make the routes for the issuers, by their names."""
    common: dict[str, Any] = {"opt": SIGN_IN, "include_in_schema": False, "status_code": 303, "cache_control": NO_STORE}

    @get(f"{PATH}/{{name:str}}", **common)
    async def begin_external_sign_in(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Any]:
        """Lead the browser to the issuer's page."""
        issuer = _named(issuers, name)
        attempt = _new_attempt()
        try:
            address = await issuer.codes.address(attempt, _redirect_uri(cookies, request, name))
        except TradeFlowError as error:
            return Redirect(REFUSED_PAGE + error.reason, status_code=303)
        return Redirect(address, status_code=303, cookies=[_kept(cookies, request, name, attempt)])

    @get(f"{PATH}/{{name:str}}/callback", **common)
    async def end_external_sign_in(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Any]:
        """Take who comes back from there into the console."""
        issuer = _named(issuers, name)
        forgotten = _kept(cookies, request, name, None)
        try:
            session = await _session(request, issuer, sign_ins, _attempt_of(cookies, request), cookies, name)
        except TradeFlowError as error:
            return Redirect(REFUSED_PAGE + error.reason, status_code=303, cookies=[forgotten])
        return Redirect("/", status_code=303, cookies=[forgotten, cookies.keeping(request, session.refresh_token)])

    return [begin_external_sign_in, end_external_sign_in]


async def _session(
    request: Request[Any, Any, Any],
    issuer: ConsoleIssuer,
    sign_ins: ExternalSignIns,
    attempt: SignInAttempt,
    cookies: SessionCookies,
    name: str,
) -> Session:
    query = request.query_params
    if not hmac.compare_digest(query.get("state", "").encode(), attempt.state.encode()):
        raise _not_begun()
    code = query.get("code", "")
    if "error" in query or not code or query.get("iss", issuer.issuer) != issuer.issuer:
        raise UnauthenticatedError("The issuer signed nobody in.", reason="sign_in_refused")
    id_token = await issuer.codes.id_token(code, attempt, _redirect_uri(cookies, request, name))
    return await sign_ins.sign_in(id_token, asked=Asked(issuer=issuer.issuer, nonce=attempt.nonce))


def _named(issuers: Mapping[str, ConsoleIssuer], name: str) -> ConsoleIssuer:
    if name not in issuers:
        raise NotFoundException
    return issuers[name]


def _new_attempt() -> SignInAttempt:
    return SignInAttempt(
        state=secrets.token_urlsafe(RANDOM_BYTES),
        nonce=secrets.token_urlsafe(RANDOM_BYTES),
        verifier=secrets.token_urlsafe(RANDOM_BYTES),
    )


def _redirect_uri(cookies: SessionCookies, request: Request[Any, Any, Any], name: str) -> str:
    """Name the callback as the browser reaches us; the issuer knows which ones are ours."""
    return f"{cookies.origin(request)}{PATH}/{name}/callback"


def _kept(cookies: SessionCookies, request: Request[Any, Any, Any], name: str, attempt: SignInAttempt | None) -> Cookie:
    return Cookie(
        key=cookies.attempt_name(request),
        value="" if attempt is None else f"{attempt.state}.{attempt.nonce}.{attempt.verifier}",
        path=f"{PATH}/{name}",
        max_age=0 if attempt is None else ATTEMPT_SECONDS,
        httponly=True,
        samesite="lax",
        secure=cookies.is_secure(request),
    )


def _attempt_of(cookies: SessionCookies, request: Request[Any, Any, Any]) -> SignInAttempt:
    parts = (cookie_of(request, cookies.attempt_name(request)) or "").split(".")
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - state, nonce, verifier
        raise _not_begun()
    state, nonce, verifier = parts
    return SignInAttempt(state=state, nonce=nonce, verifier=verifier)


def _not_begun() -> UnauthenticatedError:
    return UnauthenticatedError("This sign-in was not begun in this browser.", reason="sign_in_not_begun")
