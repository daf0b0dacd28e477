"""What the ledger's HTTP routes read of a request beside its body: who asks, and query parameters."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar.params import QueryParameter

from services.ledger.domain.account import AccountType
from services.ledger.inbound import fields
from services.ledger.queries.records import RecordsFilter
from services.ledger.queries.statement import Direction, StatementFilter
from services.runtime.errors import ForbiddenError, InvalidArgumentError
from services.runtime.jwt import Principal

LINES_OF_PAGE_DEFAULT = 50
LINES_OF_PAGE_MAX = 200
"""As for every list of the public API."""

Limit = Annotated[int, QueryParameter(ge=1, le=LINES_OF_PAGE_MAX, description="How many items at most.")]
Cursor = Annotated[str, QueryParameter(description="Where the page before ended: its `next_cursor`.")]
Currency = Annotated[str, QueryParameter(description="An asset code, such as EUR.")]
Instant = Annotated[str, QueryParameter(description="RFC 3339, such as 2026-01-31T23:00:00Z.")]
Kinds = Annotated[list[str] | None, QueryParameter(name="kind", description="Only of these kinds; may be repeated.")]
Way = Annotated[Literal["in", "out"] | None, QueryParameter(description="Only what came in, or went out.")]
Order = Annotated[Literal["oldest_first", "newest_first"], QueryParameter(description="Which line comes first.")]
Side = Annotated[Literal["debit", "credit"] | None, QueryParameter(description="The side that accounts grow on.")]
Types = Annotated[
    list[AccountType] | None, QueryParameter(name="type", description="Only of these types; may be repeated.")
]


def own_wallet(principal: Principal) -> UUID:
    """Tell the wallet of a user; services have none.

    Raises:
        ForbiddenError: `user_token_required`.
    """
    if principal.is_service:
        raise ForbiddenError("Only users have wallets.", reason="user_token_required")
    return fields.id_of(principal.subject, "sub")


def instant_in(text: str, field: str) -> datetime | None:
    """Read an instant that may be left out.

    Raises:
        InvalidArgumentError: `instant_malformed`: it is none, or says no offset from UTC.
    """
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.utcoffset() is None:
        raise InvalidArgumentError(
            f"{field} must be an instant with its offset, such as 2026-01-31T23:00:00Z.",
            reason="instant_malformed",
            details={"field": field},
        )
    return instant


def statement_filter(
    recorded_from: str, recorded_until: str, kinds: list[str] | None, direction: str | None, order: str
) -> StatementFilter:
    """Read which lines are wanted, and in which order.

    Raises:
        InvalidArgumentError: `instant_malformed` or `filter_malformed`.
    """
    return StatementFilter(
        recorded_from=instant_in(recorded_from, "recorded_from"),
        recorded_until=instant_in(recorded_until, "recorded_until"),
        kinds=fields.kinds_of(kinds or (), "kind"),
        direction=Direction(direction or "any"),
        newest_first=order == "newest_first",
    )


def records_filter(
    hold_id: str, account_code: str, kinds: list[str] | None, recorded_from: str, recorded_until: str
) -> RecordsFilter:
    """Read which records are wanted.

    Raises:
        InvalidArgumentError: `id_malformed`, `instant_malformed` or `filter_malformed`.
    """
    return RecordsFilter(
        hold_id=fields.id_of(hold_id, "hold_id") if hold_id else None,
        kinds=fields.kinds_of(kinds or (), "kind"),
        recorded_from=instant_in(recorded_from, "recorded_from"),
        recorded_until=instant_in(recorded_until, "recorded_until"),
        account_code=account_code,
    )
