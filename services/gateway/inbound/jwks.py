"""The public keys, for whoever verifies our tokens."""

from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from services.gateway.inbound.rate_limits import UNCOUNTED_OPTION
from services.gateway.keys import KeyRing
from services.runtime.http_auth import PUBLIC


def jwks_routes(*, keys: KeyRing, max_age_seconds: int) -> list[HTTPRouteHandler]:
    """Make the route."""

    @get(
        "/.well-known/jwks.json",
        operation_id="getPublicKeys",
        tags=["services"],
        opt={UNCOUNTED_OPTION: True, **PUBLIC},
    )
    async def get_public_keys() -> Response[dict[str, list[dict[str, Any]]]]:
        """Show the public keys (RFC 7517), the one that signs now first."""
        return Response(dict(keys.current.public()), headers={"Cache-Control": f"public, max-age={max_age_seconds}"})

    return [get_public_keys]
