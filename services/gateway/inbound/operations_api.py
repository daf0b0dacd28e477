"""How the platform is, for operators: what the console's page of operations shows."""

from datetime import datetime

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from services.gateway.keys import KeyRing
from services.gateway.operations import Figures, ServiceReports, figures_of
from services.runtime.clock import Clock
from services.runtime.http_auth import require_roles


class SigningKeyState(msgspec.Struct, frozen=True):
    """A key of the tokens; never the key itself."""

    key_id: str
    status: str
    """prepared, active or retiring."""
    signs: bool
    """The one that signs new tokens now."""
    made_at_seconds: int
    """Since 1970; 0 where the key doesn't say."""


class OperationsBody(msgspec.Struct, frozen=True):
    """How the platform is."""

    observed_at: datetime
    figures: Figures
    keys: list[SigningKeyState]


def operations_routes(*, reports: ServiceReports, keys: KeyRing, clock: Clock) -> list[HTTPRouteHandler]:
    """Make the route."""

    @get("/api/v1/operations", operation_id="getOperations", tags=["services"], guards=[require_roles("operator")])
    async def get_operations() -> Response[OperationsBody]:
        """Tell operators how services, invariants, outboxes, dead letters, traffic and keys are."""
        body = OperationsBody(
            observed_at=clock.now(), figures=figures_of(await reports.read()), keys=list(_key_states(keys))
        )
        return Response(body, headers={"Cache-Control": "no-store"})

    return [get_operations]


def _key_states(keys: KeyRing) -> list[SigningKeyState]:
    now = keys.current
    return [
        SigningKeyState(
            key_id=key.key_id, status=key.status, signs=key is now.active, made_at_seconds=key.made_at_seconds
        )
        for key in sorted(now.keys, key=lambda key: (key is not now.active, -key.made_at_seconds))
    ]
