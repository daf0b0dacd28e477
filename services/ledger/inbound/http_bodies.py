"""The JSON that the ledger's HTTP door speaks."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.ledger.domain.account import Account
from services.ledger.queries.statement import StatementLine
from services.money_json import MoneyBody


class BalanceBody(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's balance in one currency."""

    wallet_id: UUID
    currency: str
    posted: MoneyBody
    pending_outgoing: MoneyBody
    available: MoneyBody
    overdraft_limit: MoneyBody
    account_sequence: int


class StatementLineBody(msgspec.Struct, frozen=True, kw_only=True):
    """A posting; the amount is positive when the wallet received."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    kind: str
    amount: MoneyBody
    balance: MoneyBody
    order_id: UUID | None


class StatementBody(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a statement, oldest first."""

    items: list[StatementLineBody]
    next_cursor: str | None


class DepositBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the treasury brings in."""

    amount: MoneyBody
    note: str = ""


class DepositedBody(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a deposit."""

    wallet_id: UUID
    amount: MoneyBody
    journal_sequence: int
    recorded_at: datetime
    replayed: bool


def balance_body(wallet_id: UUID, account: Account) -> BalanceBody:
    """Show a balance."""
    currency = account.currency
    return BalanceBody(
        wallet_id=wallet_id,
        currency=currency,
        posted=MoneyBody(account.posted_minor, currency),
        pending_outgoing=MoneyBody(account.pending_outgoing_minor, currency),
        available=MoneyBody(account.available_minor, currency),
        overdraft_limit=MoneyBody(account.overdraft_limit, currency),
        account_sequence=account.account_sequence,
    )


def statement_line_body(line: StatementLine, currency: str) -> StatementLineBody:
    """Show a posting."""
    return StatementLineBody(
        journal_sequence=line.journal_sequence,
        account_sequence=line.account_sequence,
        recorded_at=line.recorded_at,
        kind=line.kind,
        amount=MoneyBody(line.amount_minor, currency),
        balance=MoneyBody(line.balance_minor, currency),
        order_id=line.hold_id,
    )
