"""The public routes that tell what the ledger has behind a wallet's balance, and that its book only grows."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from services.gateway.inbound.public_bodies import Instant, Money
from services.gateway.inbound.public_parameters import PAGE, TREE_SIZES
from services.gateway.inbound.public_route import PublicRoute

AccountType = Literal["wallet", "funding", "revenue", "receivable", "exchange"]

HoldState = Literal["open", "committed", "captured", "voided", "expired", "tombstone"]


class Account(Struct):
    """An account of the ledger's chart: a wallet has one for each currency, and another for what its owner owes.

    `available` is told as 2^53 - 1 where a limit makes it more. `debits_posted` and `credits_posted`, all that ever
    left and came, are the only amounts that may be more, up to 2^63 - 1: a browser rounds their JSON numbers then.
    """

    code: str
    type: AccountType
    normal_side: Literal["debit", "credit"]
    """On which side it grows."""
    wallet_id: UUID | None
    currency: str
    opened_sequence: int
    debits_posted: Money
    credits_posted: Money
    posted: Money
    pending_outgoing: Money
    available: Money
    overdraft_limit: Money
    account_sequence: int


class AccountPage(Struct):
    """Accounts in the order of their codes."""

    items: list[Account]
    next_cursor: str | None


class Hold(Struct):
    """Money that is set aside for an order; amounts are in minor units of the currency."""

    hold_id: UUID
    """The order's own id."""
    wallet_id: UUID | None
    currency: str
    state: HoldState
    held_minor: int
    captured_minor: int
    voided_minor: int
    remaining_minor: int
    refunded_minor: int
    expires_at: Instant | None


class Posting(Struct):
    """What a record did to one account."""

    leg: int
    account_code: str
    wallet_id: UUID | None
    amount: Money
    """Positive when it credits the account."""
    balance_after: Money
    """Credits less debits."""
    account_sequence: int


class Record(Struct):
    """A record of the journal, with the caller's own postings and without metadata and note."""

    journal_sequence: int
    record_id: UUID
    kind: str
    recorded_at: Instant
    effective_at: Instant
    order_id: UUID | None
    metadata: dict[str, str]
    note: str
    postings: list[Posting]
    reversed_by: int | None
    """The record that took it back."""
    hash: str
    """32 bytes in hexadecimal digits: what the journal's chain is made of."""


class ConsistencyProof(Struct):
    """That the first `old_tree_size` records of a tree are what they were (RFC 9162); bytes are base64."""

    old_tree_size: int
    tree_size: int
    root: bytes
    path: list[bytes]


LEDGER_ROUTES = (
    PublicRoute(
        method="get",
        path="/api/v1/wallet/accounts",
        operation_id="listAccounts",
        tag="wallet",
        summary="The accounts of the caller's wallet with their balances.",
        query=PAGE,
        answer=AccountPage,
        problems=("400 cursor_malformed",),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/wallet/holds/{hold_id}",
        operation_id="getHold",
        tag="wallet",
        summary="What is held of the caller's money for an order, and what became of it.",
        answer=Hold,
        problems=("400 id_malformed", "404 hold_not_found"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/wallet/records/{journal_sequence}",
        operation_id="getRecord",
        tag="wallet",
        summary="What a record of the journal did to the caller's wallet.",
        path_types={"journal_sequence": int},
        answer=Record,
        problems=("404 record_not_found", "404 route_not_found"),
    ),
    PublicRoute(
        method="get",
        path="/api/v1/ledger/consistency",
        operation_id="getConsistencyProof",
        tag="proof",
        summary="A proof that the ledger's book at one size is the beginning of what it was at a later one.",
        query=TREE_SIZES,
        answer=ConsistencyProof,
        needs_token=False,
        problems=("400 tree_size_malformed", "503 head_not_signed"),
    ),
)
"""What is behind a balance, and what proves that nobody changed it."""

LEDGER_BODIES = (AccountPage, Hold, Record, ConsistencyProof)
"""All that these routes answer."""
