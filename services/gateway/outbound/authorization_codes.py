"""Another issuer's sign-in page, and the ID token that it gives for a code: one client, by authorization code and PKCE.

The gateway brings the code to the issuer by itself, so that no script of the page ever holds a token of the issuer's.

Sources: RFC 6749, sections 2.3.1 and 4.1; RFC 7636 (PKCE, S256); OpenID Connect Core 1.0, section 3.1.
"""

import asyncio
import base64
import hashlib
import json
import math
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import httpx
import structlog

from services.gateway.external_issuers import ExternalIssuer
from services.gateway.ports import SignInAttempt
from services.runtime.discovery import Discovery, is_trustworthy
from services.runtime.errors import UnauthenticatedError, UnavailableError
from services.runtime.jwks import JSON_HEADERS, KEYS_FRESH_SECONDS, small_content

logger = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
"""The least time between two looks for an issuer that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoints:
    authorization_url: str
    token_url: str


class AuthorizationCodes:
    """Fits `CodeIssuer`: one issuer, at which the gateway is a client."""

    def __init__(self, issuer: ExternalIssuer, http: httpx.AsyncClient) -> None:
        """Call by `http`, which stays its owner's; read the client's secret, if it has one."""
        self._issuer = issuer
        self._http = http
        self._discovery = Discovery(issuer.issuer)
        self._secret = "" if issuer.client_secret_file is None else issuer.client_secret_file.read_text().strip()
        self._known: _Endpoints | None = None
        self._known_at_seconds = -math.inf
        self._tried_at_seconds = -math.inf
        self._looking = asyncio.Lock()

    async def address(self, attempt: SignInAttempt, redirect_uri: str) -> str:
        """Return where a browser goes to sign in.

        Raises:
            UnavailableError: The issuer can't be asked where that is.
        """
        endpoints = await self._endpoints()
        digest = hashlib.sha256(attempt.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._issuer.audience,
            "redirect_uri": redirect_uri,
            "scope": self._issuer.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in endpoints.authorization_url else "?"
        return f"{endpoints.authorization_url}{separator}{urlencode(query)}"

    async def id_token(self, code: str, attempt: SignInAttempt, redirect_uri: str) -> str:
        """Return the ID token that the issuer gives for a code; nothing of it is checked.

        Raises:
            UnauthenticatedError: `sign_in_refused`: the issuer doesn't know the code, or knows it for somebody else.
            UnavailableError: The issuer is away, or doesn't know the client.
        """
        endpoints = await self._endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": self._issuer.audience,
        }
        try:
            async with self._http.stream(
                "POST", endpoints.token_url, data=form, auth=self._credentials(), headers=JSON_HEADERS
            ) as answer:
                told = _told(await small_content(answer))
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise self._unavailable("token_request_failed", error) from error
        if answer.status_code == httpx.codes.BAD_REQUEST and told.get("error") == "invalid_grant":
            raise UnauthenticatedError("The issuer doesn't know this sign-in.", reason="sign_in_refused")
        if not answer.is_success or not isinstance(told.get("id_token"), str):
            raise self._unavailable("token_request_refused", f"{answer.status_code} {told.get('error', '')}")
        return str(told["id_token"])

    def _credentials(self) -> httpx.Auth:
        """Name the client by HTTP Basic, each part encoded as in a form (RFC 6749, section 2.3.1); or not at all."""
        if not self._secret:
            return httpx.Auth()
        return httpx.BasicAuth(quote_plus(self._issuer.audience), quote_plus(self._secret))

    async def _endpoints(self) -> _Endpoints:
        async with self._looking:
            now_seconds = time.monotonic()
            if self._known is not None and now_seconds < self._known_at_seconds + KEYS_FRESH_SECONDS:
                return self._known
            if now_seconds >= self._tried_at_seconds + PAUSE_SECONDS:
                await self._look()
            if self._known is None:
                raise UnavailableError("The issuer can't be asked now.", reason="issuer_unavailable")
            return self._known

    async def _look(self) -> None:
        """Ask for the discovery document; while that fails, what was known before stays."""
        try:
            document = await self._discovery.document(self._http)
            found = _Endpoints(
                authorization_url=_url(document, "authorization_endpoint"), token_url=_url(document, "token_endpoint")
            )
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            logger.warning("discovery_failed", issuer=self._issuer.name, error=repr(error))
        else:
            self._known, self._known_at_seconds = found, time.monotonic()
        finally:
            self._tried_at_seconds = time.monotonic()

    def _unavailable(self, event: str, error: object) -> UnavailableError:
        logger.warning(event, issuer=self._issuer.name, error=repr(error))
        return UnavailableError("The issuer can't be asked now.", reason="issuer_unavailable")


def _told(content: bytes) -> dict[str, Any]:
    told = json.loads(content)
    if not isinstance(told, dict):
        raise ValueError("the answer is no object")  # noqa: TRY004 - as for every other bad answer
    return told


def _url(document: dict[str, Any], name: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or not is_trustworthy(url):
        raise ValueError(f"the discovery document names no {name} at an https URL")
    return url
