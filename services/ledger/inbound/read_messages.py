"""What reads answer, and what they are asked, as the contract spells them."""

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.domain.account import Account, AccountType
from services.ledger.inbound import fields
from services.ledger.outbound.wallet_messages import timestamp_message
from services.ledger.queries.accounts import AccountsFilter
from services.ledger.queries.balance import PostedBalance
from services.ledger.queries.hold import SellerShare
from services.ledger.queries.records import JournalPosting, JournalRecord, RecordsFilter
from services.ledger.queries.statement import Direction, StatementFilter, StatementLine
from services.runtime.errors import InvalidArgumentError
from tradeflow.common.v1 import money_pb2
from tradeflow.ledger.v1 import ledger_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2

ACCOUNT_TYPES: Mapping["ledger_pb2.AccountType.ValueType", AccountType] = {
    ledger_pb2.ACCOUNT_TYPE_WALLET: AccountType.WALLET,
    ledger_pb2.ACCOUNT_TYPE_FUNDING: AccountType.FUNDING,
    ledger_pb2.ACCOUNT_TYPE_REVENUE: AccountType.REVENUE,
    ledger_pb2.ACCOUNT_TYPE_RECEIVABLE: AccountType.RECEIVABLE,
    ledger_pb2.ACCOUNT_TYPE_EXCHANGE: AccountType.EXCHANGE,
}
"""Each type by its number in the contract."""

_TYPE_NUMBERS = {account_type: number for number, account_type in ACCOUNT_TYPES.items()}

_SIDES: Mapping[int, bool | None] = {
    ledger_pb2.ACCOUNT_SIDE_UNSPECIFIED: None,
    ledger_pb2.ACCOUNT_SIDE_DEBIT: True,
    ledger_pb2.ACCOUNT_SIDE_CREDIT: False,
}

_DIRECTIONS: Mapping[int, Direction] = {
    messages_pb2.DIRECTION_UNSPECIFIED: Direction.ANY,
    messages_pb2.DIRECTION_IN: Direction.IN,
    messages_pb2.DIRECTION_OUT: Direction.OUT,
}


def statement_filter(request: messages_pb2.ListStatementRequest) -> StatementFilter:
    """Read which lines are wanted.

    Raises:
        InvalidArgumentError: `instant_malformed` or `filter_malformed`.
    """
    if request.direction not in _DIRECTIONS:
        raise _unknown("direction")
    return StatementFilter(
        recorded_from=instant_in(request, "recorded_from"),
        recorded_until=instant_in(request, "recorded_until"),
        kinds=fields.kinds_of(request.kinds, "kinds"),
        direction=_DIRECTIONS[request.direction],
        newest_first=request.newest_first,
    )


def accounts_filter(request: messages_pb2.ListAccountsRequest) -> AccountsFilter:
    """Read which accounts are wanted.

    Raises:
        InvalidArgumentError: `id_malformed`, `unknown_asset` or `filter_malformed`.
    """
    if not set(request.types) <= ACCOUNT_TYPES.keys():
        raise _unknown("types")
    if request.normal_side not in _SIDES:
        raise _unknown("normal_side")
    return AccountsFilter(
        types=frozenset(ACCOUNT_TYPES[number] for number in request.types),
        grows_by_debits=_SIDES[request.normal_side],
        currency=fields.currency_of(request.currency) if request.currency else "",
        wallet_id=fields.id_of(request.wallet_id, "wallet_id") if request.wallet_id else None,
        code_prefix=request.code_prefix,
    )


def records_filter(request: messages_pb2.ListRecordsRequest) -> RecordsFilter:
    """Read which records are wanted.

    Raises:
        InvalidArgumentError: `id_malformed`, `instant_malformed` or `filter_malformed`.
    """
    return RecordsFilter(
        hold_id=fields.id_of(request.hold_id, "hold_id") if request.hold_id else None,
        kinds=fields.kinds_of(request.kinds, "kinds"),
        recorded_from=instant_in(request, "recorded_from"),
        recorded_until=instant_in(request, "recorded_until"),
        account_code=request.account_code,
    )


def instant_in(
    request: messages_pb2.ListStatementRequest | messages_pb2.ListRecordsRequest | messages_pb2.GetBalanceRequest,
    field: str,
) -> datetime | None:
    """Read an instant that may be left out.

    Raises:
        InvalidArgumentError: `instant_malformed`.
    """
    if not request.HasField(field):  # type: ignore[arg-type]  # the stubs list each message's own names
        return None
    timestamp: Timestamp = getattr(request, field)
    return fields.instant_of(timestamp, field)


def posted_balance_message(balance: PostedBalance) -> ledger_pb2.PostedBalance:
    """Show what was settled at an instant."""
    return ledger_pb2.PostedBalance(
        wallet_id=str(balance.wallet_id),
        currency=balance.currency,
        posted_minor=balance.posted_minor,
        journal_sequence=balance.journal_sequence,
        account_sequence=balance.account_sequence,
    )


def share_message(share: SellerShare) -> messages_pb2.SellerShare:
    """Make a seller's part of a hold's captures."""
    return messages_pb2.SellerShare(
        seller_id=str(share.seller_id),
        gross_minor=share.gross_minor,
        gross_refunded_minor=share.gross_refunded_minor,
    )


def account_message(account: Account) -> ledger_pb2.Account:
    """Show an account of the chart."""
    grows_by_debits = account.account_type.grows_by_debits
    return ledger_pb2.Account(
        code=account.code,
        type=_TYPE_NUMBERS[account.account_type],
        normal_side=ledger_pb2.ACCOUNT_SIDE_DEBIT if grows_by_debits else ledger_pb2.ACCOUNT_SIDE_CREDIT,
        wallet_id=str(account.wallet_id) if account.wallet_id is not None else "",
        currency=account.currency,
        opened_sequence=account.opened_sequence,
        debits_posted_minor=account.debits_posted,
        credits_posted_minor=account.credits_posted,
        posted_minor=account.posted_minor,
        pending_outgoing_minor=account.pending_outgoing_minor,
        available_minor=account.told_available_minor,
        overdraft_limit_minor=account.overdraft_limit,
        account_sequence=account.account_sequence,
    )


def record_message(record: JournalRecord) -> ledger_pb2.Record:
    """Show a record of the journal."""
    return ledger_pb2.Record(
        journal_sequence=record.sequence,
        record_id=str(record.record_id),
        kind=record.kind,
        recorded_at=timestamp_message(record.recorded_at),
        effective_at=timestamp_message(record.effective_at),
        hold_id=str(record.hold_id) if record.hold_id is not None else "",
        metadata=record.metadata,
        note=record.note,
        postings=[_posting_message(posting) for posting in record.postings],
        reversed_by=record.reversed_by,
        hash=record.hash,
    )


def _posting_message(posting: JournalPosting) -> ledger_pb2.Posting:
    return ledger_pb2.Posting(
        leg=posting.leg,
        account_code=posting.account_code,
        wallet_id=str(posting.wallet_id) if posting.wallet_id is not None else "",
        amount=money_pb2.Money(amount_minor=posting.amount_minor, currency=posting.currency),
        balance_after_minor=posting.balance_after_minor,
        account_sequence=posting.account_sequence,
    )


def statement_line_message(line: StatementLine, currency: str) -> ledger_pb2.StatementLine:
    """Show a line of a statement."""
    return ledger_pb2.StatementLine(
        journal_sequence=line.journal_sequence,
        account_sequence=line.account_sequence,
        recorded_at=timestamp_message(line.recorded_at),
        kind=line.kind,
        amount=money_pb2.Money(amount_minor=line.amount_minor, currency=currency),
        balance_minor=line.balance_minor,
        hold_id=str(line.hold_id) if line.hold_id is not None else "",
        effective_at=timestamp_message(line.effective_at),
    )


def _unknown(field: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{field} has a value that is not known here.", reason="filter_malformed", details={"field": field}
    )
