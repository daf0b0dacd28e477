"""What may stand in the query of a public route that another service answers: for the API's description only.

The services have the last word; a test holds these against what they say of themselves.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from services.gateway.inbound.public_bodies import OrderState

Row = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""A row's number in the account, at most the largest integer that every JSON reader keeps."""

TreeSize = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""How many records a tree has, with the same limit."""


Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""With its offset; a `+` in it is written as %2B."""

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
"""Of whatever a path names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryParameter:
    """A parameter as one route takes it, or as several do; a name may mean another thing at another route."""

    name: str
    description: str
    type: Any = str
    required: bool = False


CURSOR = QueryParameter(
    name="cursor", description="From the page before: its next_cursor. A page with few items, or none, may have one."
)
LIMIT = QueryParameter(
    name="limit", description="1 to 200 items; 50 by default.", type=Annotated[int, Meta(ge=1, le=200)]
)
PAGE = (CURSOR, LIMIT)
"""Of each list that comes in pages."""

ORDER_STATE = QueryParameter(
    name="state", description=f"Only those in this state: one of {', '.join(get_args(OrderState))}."
)
DELIVERY_STATE = QueryParameter(name="state", description="Only those in this state: one of PENDING, DELIVERED, DEAD.")
CURRENCY = QueryParameter(name="currency", description="An ISO 4217 code.", required=True)

ROLE = QueryParameter(
    name="role",
    description="`seller`: orders with lines that the caller sells, instead of those that the caller bought.",
    type=Literal["buyer", "seller"],
)
HEALED = QueryParameter(
    name="healed", description="`true`: those that are set right, instead of those that are open.", type=bool
)
DISCREPANCY_KIND = QueryParameter(name="kind", description="Only of this kind, such as capture_missed.")

SALES_CURRENCY = QueryParameter(name="currency", description="Only in this currency, an ISO 4217 code.")
PLACED = (
    QueryParameter(name="placed_from", description="Placed at this instant or later (RFC 3339).", type=Instant),
    QueryParameter(name="placed_until", description="Placed before this instant (RFC 3339).", type=Instant),
)
MESSAGE = QueryParameter(name="message", description="Only the message of this id.")

SETTLED_AT = (
    QueryParameter(
        name="at", description="What was settled by what was recorded up to this instant (RFC 3339).", type=Instant
    ),
    QueryParameter(
        name="effective_at",
        description="What was settled by what counts from this instant or earlier (RFC 3339).",
        type=Instant,
    ),
)
RECORDED = (
    QueryParameter(name="recorded_from", description="Recorded at this instant or later (RFC 3339).", type=Instant),
    QueryParameter(name="recorded_until", description="Recorded before this instant (RFC 3339).", type=Instant),
)
RECORD_KINDS = QueryParameter(
    name="kind",
    description="Only of this kind: deposit, withdraw, transfer, capture, refund or reverse; may be repeated.",
    type=list[str],
)
DIRECTION = QueryParameter(
    name="direction",
    description="`in`: only what the wallet received; `out`: only what it paid.",
    type=Literal["in", "out"],
)
ORDER = QueryParameter(
    name="order",
    description="`oldest_first`, which is the default, or `newest_first`.",
    type=Literal["oldest_first", "newest_first"],
)
ACCOUNT_ROWS = (
    QueryParameter(name="from_account_sequence", description="The first row, from 1.", type=Row),
    QueryParameter(name="to_account_sequence", description="The last row; 0 is the newest one.", type=Row),
)
TREE_SIZES = (
    QueryParameter(
        name="old_tree_size", description="How many records the tree had, from 1.", type=TreeSize, required=True
    ),
    QueryParameter(name="tree_size", description="How many it had later; 0 is the newest signed head.", type=TreeSize),
)
