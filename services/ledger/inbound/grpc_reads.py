"""The gRPC door's reads: balances, holds, accounts, records, statements and events."""
# ruff: noqa: N802 - the contract names the methods

from uuid import UUID

from msgspec.structs import replace

from services.ledger.domain.hold import Hold
from services.ledger.domain.refusals import HoldNotFoundError, RecordNotFoundError
from services.ledger.inbound import fields
from services.ledger.inbound import read_messages as shown
from services.ledger.inbound.authorisation import Caller, check_may_read_wallet
from services.ledger.inbound.grpc_door import Bounded, Context, GrpcDoor
from services.ledger.inbound.page_tokens import page_token, position_of
from services.ledger.outbound.wallet_messages import balance_message, hold_message, timestamp_message
from services.ledger.queries.accounts import AccountsFilter, accounts_page
from services.ledger.queries.balance import posted_balance, wallet_account
from services.ledger.queries.hold import hold_with_shares, holds_with_shares
from services.ledger.queries.records import JournalRecord, RecordsFilter, record_by_sequence, records_page
from services.ledger.queries.statement import statement_page
from services.ledger.queries.wallet_events import wallet_events_after
from services.runtime.errors import ForbiddenError, InvalidArgumentError
from tradeflow.events.v1 import wallet_event_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000
"""Bounds one answer to about 1 MiB."""

RECORDS_DEFAULT = 50
RECORDS_MAX = 200
"""A record may have a hundred postings: this bounds one answer to about 4 MiB."""

HOLDS_MAX = 256
"""A hold may have a hundred sellers: this bounds one answer to about 2 MiB."""


class Reads(GrpcDoor):
    """Answers the calls that read."""

    async def GetBalance(
        self, request: messages_pb2.GetBalanceRequest, context: Context
    ) -> messages_pb2.GetBalanceResponse:
        """Read a balance, now or at an instant."""
        async with Bounded(context):
            caller = await self.caller(context)
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            currency = fields.currency_of(request.currency)
            check_may_read_wallet(caller, wallet_id)
            recorded_at = shown.instant_in(request, "recorded_at")
            effective_at = shown.instant_in(request, "effective_at")
            book = self._doorway.book
            if recorded_at is None and effective_at is None:
                account = await wallet_account(book, wallet_id, currency)
                return messages_pb2.GetBalanceResponse(balance=balance_message(account))
            balance = await posted_balance(
                book, wallet_id, currency, recorded_at=recorded_at, effective_at=effective_at
            )
            return messages_pb2.GetBalanceResponse(posted_balance=shown.posted_balance_message(balance))

    async def GetHold(self, request: messages_pb2.GetHoldRequest, context: Context) -> messages_pb2.GetHoldResponse:
        """Read a hold; to a user, another's is as if it weren't there."""
        async with Bounded(context):
            caller = await self.caller(context)
            hold, shares = await hold_with_shares(self._doorway.book, fields.id_of(request.hold_id, "hold_id"))
            if not _sees_hold(caller, hold):
                raise HoldNotFoundError(f"There is no hold {hold.hold_id}.")
            return messages_pb2.GetHoldResponse(hold=hold_message(hold), shares=map(shown.share_message, shares))

    async def GetHolds(self, request: messages_pb2.GetHoldsRequest, context: Context) -> messages_pb2.GetHoldsResponse:
        """Read some holds; to a user, others' are as if they weren't there."""
        async with Bounded(context):
            caller = await self.caller(context)
            found = await holds_with_shares(self._doorway.book, _hold_ids(request))
            return messages_pb2.GetHoldsResponse(
                holds=[
                    messages_pb2.HoldWithShares(hold=hold_message(hold), shares=map(shown.share_message, shares))
                    for hold, shares in found
                    if _sees_hold(caller, hold)
                ]
            )

    async def ListAccounts(
        self, request: messages_pb2.ListAccountsRequest, context: Context
    ) -> messages_pb2.ListAccountsResponse:
        """Read a page of the chart; to a user, of the own wallet."""
        async with Bounded(context):
            caller = await self.caller(context)
            wanted = _accounts_seen_by(caller, shown.accounts_filter(request))
            page = await accounts_page(
                self._doorway.book,
                wanted,
                after_code=position_of(request.page_token, "", wanted),
                accounts_max=_page_size(request.page_size),
            )
            return messages_pb2.ListAccountsResponse(
                accounts=map(shown.account_message, page.accounts),
                next_page_token=page_token(page.next_after_code, wanted),
            )

    async def GetRecord(
        self, request: messages_pb2.GetRecordRequest, context: Context
    ) -> messages_pb2.GetRecordResponse:
        """Read a record; to a user, one that touches the own wallet, and only those postings."""
        async with Bounded(context):
            caller = await self.caller(context)
            record = await record_by_sequence(self._doorway.book, request.journal_sequence)
            seen = _seen_by(caller, record)
            if seen is None:
                raise RecordNotFoundError(f"There is no record {record.sequence}.")
            return messages_pb2.GetRecordResponse(record=shown.record_message(seen))

    async def ListRecords(
        self, request: messages_pb2.ListRecordsRequest, context: Context
    ) -> messages_pb2.ListRecordsResponse:
        """Read a page of the journal."""
        async with Bounded(context):
            caller = await self.caller(context)
            wanted = shown.records_filter(request)
            _check_may_list_records(caller, wanted)
            page = await records_page(
                self._doorway.book,
                wanted,
                after_sequence=position_of(request.page_token, 0, wanted),
                records_max=fields.page_size_of(request.page_size, default=RECORDS_DEFAULT, most=RECORDS_MAX),
            )
            seen = [_seen_by(caller, record) for record in page.records]
            return messages_pb2.ListRecordsResponse(
                records=[shown.record_message(record) for record in seen if record is not None],
                next_page_token=page_token(page.next_after_sequence, wanted),
            )

    async def ListStatement(
        self, request: messages_pb2.ListStatementRequest, context: Context
    ) -> messages_pb2.ListStatementResponse:
        """Read a page of postings."""
        async with Bounded(context):
            caller = await self.caller(context)
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            check_may_read_wallet(caller, wallet_id)
            currency = fields.currency_of(request.currency)
            wanted = shown.statement_filter(request)
            after = fields.sequence_of(request.after_account_sequence, "after_account_sequence")
            if after and (request.page_token or request.newest_first):
                raise InvalidArgumentError(
                    "after_account_sequence goes with neither page_token nor newest_first.",
                    reason="page_token_malformed",
                    details={"field": "after_account_sequence"},
                )
            page = await statement_page(
                self._doorway.book,
                wallet_id,
                currency,
                wanted,
                after_account_sequence=position_of(request.page_token, after, wallet_id, currency, wanted),
                lines_max=_page_size(request.page_size),
            )
        following = page.next_after_account_sequence
        return messages_pb2.ListStatementResponse(
            lines=[shown.statement_line_message(line, currency) for line in page.lines],
            next_after_account_sequence=0 if wanted.newest_first else following,
            next_page_token=page_token(following, wallet_id, currency, wanted),
        )

    async def ListWalletEvents(
        self, request: messages_pb2.ListWalletEventsRequest, context: Context
    ) -> messages_pb2.ListWalletEventsResponse:
        """Read the events after a sequence."""
        async with Bounded(context):
            caller = await self.caller(context)
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            check_may_read_wallet(caller, wallet_id)
            page = await wallet_events_after(
                self._doorway.book,
                wallet_id,
                after_sequence=fields.sequence_of(request.after_sequence, "after_sequence"),
                events_max=_page_size(request.page_size),
            )
        return messages_pb2.ListWalletEventsResponse(
            events=[wallet_event_pb2.WalletEvent.FromString(payload) for payload in page.payloads],
            last_sequence=page.last_sequence,
            reload_required=page.reload_required,
            read_at=timestamp_message(self._doorway.clock.now()),
        )


def _page_size(asked: int) -> int:
    return fields.page_size_of(asked, default=PAGE_SIZE_DEFAULT, most=PAGE_SIZE_MAX)


def _accounts_seen_by(caller: Caller, wanted: AccountsFilter) -> AccountsFilter:
    if caller.sees_all:
        return wanted
    own = _own_wallet(caller)
    if wanted.wallet_id not in (None, own):
        check_may_read_wallet(caller, wanted.wallet_id)
    return replace(wanted, wallet_id=own)


def _check_may_list_records(caller: Caller, wanted: RecordsFilter) -> None:
    if not caller.sees_all and not wanted.account_code.startswith(f"wallet:{_own_wallet(caller)}:"):
        raise ForbiddenError("Name one of your own accounts in account_code.", reason="not_wallet_owner")


def _seen_by(caller: Caller, record: JournalRecord) -> JournalRecord | None:
    """Show a record to whom it concerns: all of it, the own postings, or nothing."""
    if caller.sees_all:
        return record
    own = record.seen_by_owner(_own_wallet(caller))
    return own if own.postings else None


def _hold_ids(request: messages_pb2.GetHoldsRequest) -> list[UUID]:
    if not 1 <= len(request.hold_ids) <= HOLDS_MAX:
        raise InvalidArgumentError(
            f"hold_ids has 1 to {HOLDS_MAX} ids.", reason="holds_malformed", details={"field": "hold_ids"}
        )
    return [fields.id_of(hold_id, "hold_ids") for hold_id in request.hold_ids]


def _sees_hold(caller: Caller, hold: Hold) -> bool:
    return caller.sees_all or caller.user_id == str(hold.wallet_id)


def _own_wallet(caller: Caller) -> UUID:
    return fields.id_of(caller.user_id or "", "sub")
