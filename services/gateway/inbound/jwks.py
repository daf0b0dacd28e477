"""The public keys, and where everything is, for whoever verifies our tokens."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from services.gateway.inbound.rate_limits import UNCOUNTED_OPTION
from services.gateway.keys import ALGORITHM, KeyRing
from services.runtime.http_auth import PUBLIC

JWKS_PATH = "/.well-known/jwks.json"
"""Where the public keys are."""

UNCOUNTED = {UNCOUNTED_OPTION: True, **PUBLIC}
"""What machines ask for all the time."""


class IssuerDocument(msgspec.Struct, frozen=True):
    """What an issuer says of itself (OpenID Connect Discovery 1.0): it signs people in by its own API."""

    issuer: str
    jwks_uri: str
    token_endpoint: str
    grant_types_supported: tuple[str, ...] = ("client_credentials",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    response_types_supported: tuple[str, ...] = ()
    """None: there is no authorisation endpoint."""
    subject_types_supported: tuple[str, ...] = ("public",)
    id_token_signing_alg_values_supported: tuple[str, ...] = (ALGORITHM,)
    claims_supported: tuple[str, ...] = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti", "roles")


def jwks_routes(*, keys: KeyRing, issuer: str, max_age_seconds: int) -> list[HTTPRouteHandler]:
    """Make the routes."""
    cached = {"Cache-Control": f"public, max-age={max_age_seconds}"}
    base = issuer.rstrip("/")
    document = IssuerDocument(issuer=issuer, jwks_uri=f"{base}{JWKS_PATH}", token_endpoint=f"{base}/oauth/token")

    @get(JWKS_PATH, operation_id="getPublicKeys", tags=["services"], opt=UNCOUNTED)
    async def get_public_keys() -> Response[dict[str, list[dict[str, Any]]]]:
        """Show the public keys (RFC 7517), the one that signs now first."""
        return Response(dict(keys.current.public()), headers=cached)

    @get(
        "/.well-known/openid-configuration",
        operation_id="getIssuer",
        tags=["services"],
        opt=UNCOUNTED,
    )
    async def get_issuer() -> Response[IssuerDocument]:
        """Say who signs tokens, and where its keys are: what other software needs to verify them."""
        return Response(document, headers=cached)

    return [get_public_keys, get_issuer]
