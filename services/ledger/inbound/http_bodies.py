"""The JSON that the ledger's HTTP door answers reads with."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.queries.balance import PostedBalance
from services.ledger.queries.records import JournalRecord
from services.ledger.queries.statement import StatementLine
from services.money_json import MoneyBody


class BalanceBody(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's balance in one currency; what is available is told as 2^53 - 1 where a limit makes it more."""

    wallet_id: UUID
    currency: str
    posted: MoneyBody
    pending_outgoing: MoneyBody
    available: MoneyBody
    overdraft_limit: MoneyBody
    account_sequence: int


class PostedBalanceBody(msgspec.Struct, frozen=True, kw_only=True):
    """What was settled at an instant; holds are no postings, so that what was available isn't told."""

    wallet_id: UUID
    currency: str
    posted: MoneyBody
    journal_sequence: int
    """The newest record of the book that was recorded by then."""
    account_sequence: int


class StatementLineBody(msgspec.Struct, frozen=True, kw_only=True):
    """A posting; the amount is positive when the wallet received."""

    journal_sequence: int
    account_sequence: int
    recorded_at: datetime
    effective_at: datetime
    kind: str
    amount: MoneyBody
    balance: MoneyBody
    order_id: UUID | None


class StatementBody(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a statement, oldest first unless asked otherwise."""

    items: list[StatementLineBody]
    next_cursor: str | None


class AccountBody(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the chart with its balance; what is available is told as 2^53 - 1 where a limit makes it more.

    `debits_posted` and `credits_posted`, all that ever left and came, may be up to 2^63 - 1.
    """

    code: str
    type: str
    normal_side: str
    wallet_id: UUID | None
    currency: str
    opened_sequence: int
    debits_posted: MoneyBody
    credits_posted: MoneyBody
    posted: MoneyBody
    pending_outgoing: MoneyBody
    available: MoneyBody
    overdraft_limit: MoneyBody
    account_sequence: int


class AccountsBody(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the chart, in order of the codes."""

    items: list[AccountBody]
    next_cursor: str | None


class PostingBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a record did to one account: positive amounts credit it."""

    leg: int
    account_code: str
    wallet_id: UUID | None
    amount: MoneyBody
    balance_after: MoneyBody
    """Credits less debits."""
    account_sequence: int


class RecordBody(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the journal; a wallet's owner sees the own postings, and neither metadata nor note."""

    journal_sequence: int
    record_id: UUID
    kind: str
    recorded_at: datetime
    effective_at: datetime
    order_id: UUID | None
    metadata: dict[str, str]
    note: str
    postings: list[PostingBody]
    reversed_by: int | None
    hash: str
    """32 bytes in hexadecimal digits."""


class RecordsBody(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the journal, oldest first."""

    items: list[RecordBody]
    next_cursor: str | None


class HoldBody(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as it is now."""

    hold_id: UUID
    wallet_id: UUID | None
    currency: str
    state: str
    held_minor: int
    captured_minor: int
    voided_minor: int
    remaining_minor: int
    refunded_minor: int
    expires_at: datetime | None


def balance_body(wallet_id: UUID, account: Account) -> BalanceBody:
    """Show a balance."""
    currency = account.currency
    return BalanceBody(
        wallet_id=wallet_id,
        currency=currency,
        posted=MoneyBody(account.posted_minor, currency),
        pending_outgoing=MoneyBody(account.pending_outgoing_minor, currency),
        available=MoneyBody(account.told_available_minor, currency),
        overdraft_limit=MoneyBody(account.overdraft_limit, currency),
        account_sequence=account.account_sequence,
    )


def posted_balance_body(balance: PostedBalance) -> PostedBalanceBody:
    """Show what was settled at an instant."""
    return PostedBalanceBody(
        wallet_id=balance.wallet_id,
        currency=balance.currency,
        posted=MoneyBody(balance.posted_minor, balance.currency),
        journal_sequence=balance.journal_sequence,
        account_sequence=balance.account_sequence,
    )


def statement_line_body(line: StatementLine, currency: str) -> StatementLineBody:
    """Show a posting."""
    return StatementLineBody(
        journal_sequence=line.journal_sequence,
        account_sequence=line.account_sequence,
        recorded_at=line.recorded_at,
        effective_at=line.effective_at,
        kind=line.kind,
        amount=MoneyBody(line.amount_minor, currency),
        balance=MoneyBody(line.balance_minor, currency),
        order_id=line.hold_id,
    )


def account_body(account: Account) -> AccountBody:
    """Show an account of the chart."""
    currency = account.currency
    return AccountBody(
        code=account.code,
        type=account.account_type.value,
        normal_side="debit" if account.account_type.grows_by_debits else "credit",
        wallet_id=account.wallet_id,
        currency=currency,
        opened_sequence=account.opened_sequence,
        debits_posted=MoneyBody(account.debits_posted, currency),
        credits_posted=MoneyBody(account.credits_posted, currency),
        posted=MoneyBody(account.posted_minor, currency),
        pending_outgoing=MoneyBody(account.pending_outgoing_minor, currency),
        available=MoneyBody(account.told_available_minor, currency),
        overdraft_limit=MoneyBody(account.overdraft_limit, currency),
        account_sequence=account.account_sequence,
    )


def record_body(record: JournalRecord) -> RecordBody:
    """Show a record of the journal."""
    return RecordBody(
        journal_sequence=record.sequence,
        record_id=record.record_id,
        kind=record.kind,
        recorded_at=record.recorded_at,
        effective_at=record.effective_at,
        order_id=record.hold_id,
        metadata=record.metadata,
        note=record.note,
        postings=[
            PostingBody(
                leg=posting.leg,
                account_code=posting.account_code,
                wallet_id=posting.wallet_id,
                amount=MoneyBody(posting.amount_minor, posting.currency),
                balance_after=MoneyBody(posting.balance_after_minor, posting.currency),
                account_sequence=posting.account_sequence,
            )
            for posting in record.postings
        ],
        reversed_by=record.reversed_by or None,
        hash=record.hash.hex(),
    )


def hold_body(hold: Hold) -> HoldBody:
    """Show a hold; a tombstone is nobody's."""
    return HoldBody(
        hold_id=hold.hold_id,
        wallet_id=hold.wallet_id if hold.currency else None,
        currency=hold.currency,
        state=hold.state.value,
        held_minor=hold.held_minor,
        captured_minor=hold.captured_minor,
        voided_minor=hold.voided_minor,
        remaining_minor=hold.remaining_minor,
        refunded_minor=hold.refunded_minor,
        expires_at=hold.expires_at,
    )
