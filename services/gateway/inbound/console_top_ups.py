"""Money for trying out: a platform that says so gives any user some. Real platforms have a treasury instead."""

import hashlib
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from litestar.types import ASGIApp

from services.gateway.access_tokens import TokenIssuer
from services.gateway.door import require_user
from services.gateway.inbound.deposits_api import LedgerDepositBody
from services.gateway.inbound.proxy import Proxy
from services.money_json import PositiveMoneyBody
from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import Caller
from services.runtime.idempotency import HEADER, IdempotencyKey

TOP_UP_MINOR_MAX: Final = 1_000_000
"""The largest one: ten thousand euros or dollars."""

DEMO_TREASURY_ID: Final = "00000000-0000-7000-8000-000000000001"
"""In whose name money is made up; no user can have this id."""


class TopUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the caller would like to have."""

    amount: PositiveMoneyBody
    note: Annotated[str, msgspec.Meta(max_length=200)] = "Demo top-up"


def console_top_up_routes(*, proxy: Proxy, issuer: TokenIssuer, ledger_url: str) -> list[HTTPRouteHandler]:
    """Make the route; only where the settings ask for it."""

    @post("/console/top-ups", include_in_schema=False)
    async def top_up(
        request: Request[Any, Any, Any], data: JSONBody[TopUp], principal: Caller, idempotency_key: IdempotencyKey
    ) -> ASGIApp:
        """Deposit into the caller's own wallet."""
        if data.amount.amount_minor > TOP_UP_MINOR_MAX:
            raise InvalidArgumentError("That is more than a demo gives.", reason="top_up_too_large")
        wallet_id = require_user(principal).subject
        treasury = issuer.user_token(user_id=DEMO_TREASURY_ID, roles=["treasury"])
        headers = {
            "authorization": f"Bearer {treasury.token}",
            HEADER.lower(): hashlib.sha256(f"{wallet_id} {idempotency_key}".encode()).hexdigest(),
        }
        body = msgspec.json.encode(LedgerDepositBody(amount=data.amount, note=data.note))
        url = f"{ledger_url.rstrip('/')}/api/v1/wallets/{wallet_id}/deposits"
        return await proxy.send_own(request, url, body=body, passed_on=("accept-encoding",), added=headers)

    return [top_up]
