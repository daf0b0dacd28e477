"""Deposits by e-mail address: people know addresses, the ledger knows wallets."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from litestar.types import ASGIApp

from services.gateway.inbound.auth_api import Email
from services.gateway.inbound.proxy import Proxy
from services.gateway.ports import Identities
from services.money_json import PositiveMoneyBody
from services.runtime.http_auth import require_roles
from services.runtime.idempotency import IdempotencyKey

PASSED_ON = ("authorization", "idempotency-key", "accept-encoding")
"""What the ledger gets of the caller's headers."""


class DepositBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money that came in for a user."""

    email: Email
    """Whose wallet."""
    amount: PositiveMoneyBody
    """How much."""
    note: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """What the treasury wants to remember."""
    metadata: dict[str, str] = {}
    """To be found again with the record; at most 4,096 bytes as JSON."""
    effective_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When it counts, if not now."""
    dry_run: bool = False
    """Decide and change nothing."""


class LedgerDepositBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ledger is asked for."""

    amount: PositiveMoneyBody
    note: str = ""
    metadata: dict[str, str] = {}
    effective_at: datetime | None = None
    dry_run: bool = False


def deposit_routes(*, proxy: Proxy, identities: Identities, ledger_url: str) -> list[HTTPRouteHandler]:
    """Make the route."""

    @post(
        "/api/v1/wallet/deposits",
        operation_id="deposit",
        tags=["wallet"],
        guards=[require_roles("treasury")],
        include_in_schema=False,
    )
    async def deposit(
        request: Request[Any, Any, Any],
        data: JSONBody[DepositBody],
        idempotency_key: IdempotencyKey,  # noqa: ARG001 (asked for before anything is looked up; the header is passed on)
    ) -> ASGIApp:
        """Find the user, and let the ledger deposit with the caller's own token and key."""
        user = await identities.find_user_by_email(data.email)
        url = f"{ledger_url.rstrip('/')}/api/v1/wallets/{user.user_id}/deposits"
        body = msgspec.json.encode(
            LedgerDepositBody(
                amount=data.amount,
                note=data.note,
                metadata=data.metadata,
                effective_at=data.effective_at,
                dry_run=data.dry_run,
            )
        )
        return await proxy.send_own(request, url, body=body, passed_on=PASSED_ON)

    return [deposit]
