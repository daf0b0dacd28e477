"""Our tokens for an ID token of a company's own identity provider.

A token exchange in the spirit of RFC 8693, in the form of the other routes of sign-in.
"""

from typing import Annotated

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from services.gateway.access_tokens import TokenIssuer
from services.gateway.inbound.auth_api import NO_STORE, SIGN_IN, TAGS, TokensBody, tokens_body
from services.gateway.inbound.external_sign_ins import ExternalSignIns
from services.gateway.inbound.rate_limits import RATE_LIMITED
from services.runtime.http_openapi import problem_responses
from services.runtime.signed_claims import TOKEN_BYTES_MAX


class ExternalLogin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-in at another issuer, brought here."""

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=TOKEN_BYTES_MAX)]
    """As the issuer gave it to the client that the settings name; good for some minutes."""


def exchange_routes(*, sign_ins: ExternalSignIns, issuer: TokenIssuer) -> list[HTTPRouteHandler]:
    """Make the route."""

    @post(
        "/auth/exchange",
        operation_id="exchangeIdToken",
        tags=TAGS,
        opt=SIGN_IN,
        status_code=200,
        cache_control=NO_STORE,
        responses=problem_responses(
            {
                **RATE_LIMITED,
                401: "token_malformed, token_wrong_issuer, token_forged, token_wrong_audience, token_expired, "
                "token_not_yet_valid, token_too_old",
                403: "email_not_verified, user_not_registered, account_not_linkable",
                503: "issuer_unavailable: its keys can't be had now",
            }
        ),
    )
    async def exchange_id_token(data: JSONBody[ExternalLogin]) -> TokensBody:
        """Sign in with an ID token of a company's own identity provider, where the settings name one."""
        return tokens_body(issuer, await sign_ins.sign_in(data.id_token))

    return [exchange_id_token]
