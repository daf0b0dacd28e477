"""Service tokens by OAuth 2 client credentials: POST /oauth/token with HTTP Basic.

Sources: RFC 6749, sections 2.3.1, 4.4 and 5.2 (`error`, beside our `reason`); RFC 8707 (invalid_target).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import URLEncodedBody
from litestar.plugins.problem_details import ProblemDetailsException

from services.gateway.access_tokens import TokenIssuer
from services.gateway.inbound.auth_api import NO_STORE, SIGN_IN
from services.gateway.inbound.rate_limits import RATE_LIMITED
from services.runtime.http_errors import TYPE_PREFIX
from services.runtime.http_openapi import problem_responses

CREDENTIALS_CHARACTERS_MAX = 1024
"""Longer headers are not decoded."""

FORM_BYTES_MAX = 16 * 1024
"""The form is parsed before anybody looks at the credentials; ours has two short fields."""

NOBODY_DIGEST = hashlib.sha256(b"").hexdigest()
"""Compared with the secret of an unknown client, so that it takes as long as a known one's."""


class TokenRequest(msgspec.Struct, frozen=True):
    """The form. Fields that we don't know are ignored, as RFC 6749 asks."""

    grant_type: str = ""
    """client_credentials."""
    audience: str = ""
    """The service that the token is for."""


class ServiceTokenBody(msgspec.Struct, frozen=True):
    """A service's token."""

    access_token: str
    token_type: str
    expires_in: int


class ClientRegistry:
    """Who may ask, and for what."""

    def __init__(self, clients: Mapping[str, str], audiences: Mapping[str, Sequence[str]]) -> None:
        """Know clients by the SHA-256 of their secrets, which are long and random: no slow hash is needed."""
        self._clients = dict(clients)
        self._audiences = {client_id: frozenset(allowed) for client_id, allowed in audiences.items()}

    def authenticate(self, authorization: str | None) -> str:
        """Return the client's id.

        Raises:
            ProblemDetailsException: 401 invalid_client, which doesn't say what was wrong.
        """
        client_id, secret = _basic_credentials(authorization)
        expected = self._clients.get(client_id, NOBODY_DIGEST)
        given = hashlib.sha256(secret.encode()).hexdigest()
        if not hmac.compare_digest(given, expected) or client_id not in self._clients:
            raise _refusal(
                401,
                "invalid_client",
                "The client's id or secret is wrong.",
                headers={"WWW-Authenticate": 'Basic realm="tradeflow", charset="UTF-8"'},
            )
        return client_id

    def check_audience(self, client_id: str, audience: str) -> None:
        """Let a client ask only for the services it calls.

        Raises:
            ProblemDetailsException: 400 invalid_target.
        """
        if audience not in self._audiences.get(client_id, frozenset()):
            raise _refusal(400, "invalid_target", "The client may not ask for tokens for this audience.")


def token_routes(*, issuer: TokenIssuer, clients: ClientRegistry) -> list[HTTPRouteHandler]:
    """Make the route."""

    @post(
        "/oauth/token",
        operation_id="issueServiceToken",
        tags=["services"],
        opt=SIGN_IN,
        status_code=200,
        cache_control=NO_STORE,
        request_max_body_size=FORM_BYTES_MAX,
        responses=problem_responses(
            {**RATE_LIMITED, 400: "validation_failed, unsupported_grant_type, invalid_target", 401: "invalid_client"}
        ),
    )
    async def issue_service_token(
        request: Request[Any, Any, Any],
        data: URLEncodedBody[TokenRequest],
    ) -> ServiceTokenBody:
        """Issue a token for one service to a client that shows its secret by HTTP Basic."""
        client_id = clients.authenticate(request.headers.get("authorization"))
        if data.grant_type != "client_credentials":
            raise _refusal(400, "unsupported_grant_type", "The grant type must be client_credentials.")
        clients.check_audience(client_id, data.audience)
        issued = issuer.service_token(client_id=client_id, audience=data.audience)
        return ServiceTokenBody(
            access_token=issued.token,
            token_type="Bearer",  # noqa: S106 (the name of a scheme)
            expires_in=issued.expires_in_seconds,
        )

    return [issue_service_token]


def _basic_credentials(authorization: str | None) -> tuple[str, str]:
    """Read a Basic header; whatever is wrong with it gives credentials that fit nobody."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > CREDENTIALS_CHARACTERS_MAX:
        return "", ""
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    client_id, _, secret = decoded.partition(":")
    return client_id, secret


def _refusal(status: int, error: str, detail: str, *, headers: dict[str, str] | None = None) -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=status,
        type_=TYPE_PREFIX + error,
        title=error.replace("_", " ").capitalize(),
        detail=detail,
        extra={"reason": error, "error": error},
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
