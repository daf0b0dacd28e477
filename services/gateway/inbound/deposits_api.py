"""Deposits by e-mail address, or by user: people know addresses, the ledger knows wallets, which have their users' ids.

Nobody verifies an address at registration: it names whoever registered it first. So the answer says who that is, and
since when, and a dry run says it before any money moves.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from litestar.types import ASGIApp

from services.gateway.inbound.auth_api import Email
from services.gateway.inbound.proxy import Proxy
from services.gateway.ports import Identities, User
from services.money_json import PositiveMoneyBody
from services.runtime.errors import InvalidArgumentError
from services.runtime.http_auth import require_roles
from services.runtime.idempotency import IdempotencyKey

PASSED_ON = ("authorization", "idempotency-key")
"""What the ledger gets of the caller's headers."""


class DepositBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money that came in for a user, named by the address or by the id.

    An address is of whoever registered it first: nobody has verified it.
    """

    email: Email | None = None
    """Whose wallet; one of both."""
    user_id: UUID | None = None
    """Whose wallet: it has the user's id."""
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
        user = await _user(data, identities)
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
        told = {"user_id": user.user_id, "email": user.email, "user_created_at": user.created_at}
        return await proxy.send_own(
            request, url, body=body, passed_on=PASSED_ON, added={"accept-encoding": "identity"}, told=told
        )

    return [deposit]


async def _user(data: DepositBody, identities: Identities) -> User:
    """Find who is named.

    Raises:
        InvalidArgumentError: `invalid_recipient`.
        NotFoundError: `user_not_found`.
    """
    if data.email is not None and data.user_id is None:
        return await identities.find_user_by_email(data.email)
    if data.user_id is not None and data.email is None:
        return await identities.find_user_by_id(str(data.user_id))
    raise InvalidArgumentError("A deposit has an address or a user's id.", reason="invalid_recipient")
