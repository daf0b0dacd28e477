"""The ledger's HTTP door for users: their own wallet.

The gateway passes requests on with the user's own token, which is checked here again.
"""

from uuid import UUID

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from services.ledger.commands.withdraw import Withdraw
from services.ledger.domain.refusals import HoldNotFoundError, RecordNotFoundError
from services.ledger.inbound import fields
from services.ledger.inbound.http_bodies import (
    AccountsBody,
    BalanceBody,
    HoldBody,
    PostedBalanceBody,
    RecordBody,
    StatementBody,
    account_body,
    balance_body,
    hold_body,
    posted_balance_body,
    record_body,
    statement_line_body,
)
from services.ledger.inbound.http_command_bodies import DepositedBody, WithdrawalBody, moved_response
from services.ledger.inbound.http_requests import (
    LINES_OF_PAGE_DEFAULT,
    Currency,
    Cursor,
    Instant,
    Kinds,
    Limit,
    Order,
    Way,
    instant_in,
    own_wallet,
    statement_filter,
)
from services.ledger.inbound.page_tokens import page_token, position_of
from services.ledger.ports import Submitter
from services.ledger.queries.accounts import AccountsFilter, accounts_page
from services.ledger.queries.balance import posted_balance, wallet_account
from services.ledger.queries.book import Book
from services.ledger.queries.hold import hold_by_id
from services.ledger.queries.records import record_by_sequence
from services.ledger.queries.statement import StatementFilter, statement_page
from services.runtime.http_auth import Caller
from services.runtime.idempotency import IdempotencyKey
from services.runtime.tracing import current_traceparent

TAGS = ["wallet"]
"""The group in the API's description."""


def wallet_routes(book: Book, committer: Submitter) -> list[BaseRouteHandler]:
    """Make the routes of the caller's own wallet."""
    return [*_balance_routes(book), *_history_routes(book), _withdrawal_route(committer)]


def _balance_routes(book: Book) -> list[BaseRouteHandler]:
    @get("/api/v1/wallet/balance", operation_id="GetWalletBalance", tags=TAGS)
    async def get_balance(
        principal: Caller, currency: Currency, at: Instant = "", effective_at: Instant = ""
    ) -> BalanceBody | PostedBalanceBody:
        """Read the balance in one currency, now or as recorded `at` and counted by `effective_at`."""
        return await read_balance(book, own_wallet(principal), currency, at, effective_at)

    @get("/api/v1/wallet/accounts", operation_id="ListWalletAccounts", tags=TAGS)
    async def list_accounts(
        principal: Caller, cursor: Cursor = "", limit: Limit = LINES_OF_PAGE_DEFAULT
    ) -> AccountsBody:
        """List the wallet's accounts with their balances."""
        return await read_accounts(book, AccountsFilter(wallet_id=own_wallet(principal)), cursor, limit)

    @get("/api/v1/wallet/holds/{hold_id:str}", operation_id="GetWalletHold", tags=TAGS)
    async def get_hold(principal: Caller, hold_id: FromPath[str]) -> HoldBody:
        """Read a hold on the wallet."""
        hold = await hold_by_id(book, fields.id_of(hold_id, "hold_id"))
        if hold.wallet_id != own_wallet(principal):
            raise HoldNotFoundError(f"There is no hold {hold.hold_id}.")
        return hold_body(hold)

    return [get_balance, list_accounts, get_hold]


def _history_routes(book: Book) -> list[BaseRouteHandler]:
    @get("/api/v1/wallet/statement", operation_id="GetWalletStatement", tags=TAGS)
    async def get_statement(
        principal: Caller,
        currency: Currency,
        cursor: Cursor = "",
        limit: Limit = LINES_OF_PAGE_DEFAULT,
        recorded_from: Instant = "",
        recorded_until: Instant = "",
        kinds: Kinds = None,
        direction: Way = None,
        order: Order = "oldest_first",
    ) -> StatementBody:
        """Read the wallet's postings in one currency."""
        wanted = statement_filter(recorded_from, recorded_until, kinds, direction, order)
        return await read_statement(book, own_wallet(principal), currency, wanted, cursor, limit)

    @get("/api/v1/wallet/records/{journal_sequence:int}", operation_id="GetWalletRecord", tags=TAGS)
    async def get_record(principal: Caller, journal_sequence: FromPath[int]) -> RecordBody:
        """Read what a record did to the wallet."""
        record = (await record_by_sequence(book, journal_sequence)).seen_by_owner(own_wallet(principal))
        if not record.postings:
            raise RecordNotFoundError(f"There is no record {journal_sequence}.")
        return record_body(record)

    return [get_statement, get_record]


def _withdrawal_route(committer: Submitter) -> BaseRouteHandler:
    @post("/api/v1/wallet/withdrawals", operation_id="WithdrawFromWallet", tags=TAGS)
    async def withdraw(
        principal: Caller, idempotency_key: IdempotencyKey, data: JSONBody[WithdrawalBody]
    ) -> Response[DepositedBody]:
        """Take money out of the wallet."""
        command = Withdraw(
            service=f"user:{principal.subject}",
            idempotency_key=idempotency_key,
            traceparent=current_traceparent(),
            metadata=data.metadata,
            dry_run=data.dry_run,
            wallet_id=own_wallet(principal),
            amount=fields.positive_money(data.amount.amount_minor, data.amount.currency),
            note=data.note,
        )
        return moved_response(await committer.submit(command), command.wallet_id, data.amount)

    return withdraw


async def read_balance(
    book: Book, wallet_id: UUID, currency: str, at: str, effective_at: str
) -> BalanceBody | PostedBalanceBody:
    """Read a balance, now or at an instant."""
    fields.currency_of(currency)
    recorded_by, counted_by = instant_in(at, "at"), instant_in(effective_at, "effective_at")
    if recorded_by is None and counted_by is None:
        return balance_body(wallet_id, await wallet_account(book, wallet_id, currency))
    balance = await posted_balance(book, wallet_id, currency, recorded_at=recorded_by, effective_at=counted_by)
    return posted_balance_body(balance)


async def read_statement(
    book: Book, wallet_id: UUID, currency: str, wanted: StatementFilter, cursor: str, limit: int
) -> StatementBody:
    """Read a page of a statement."""
    fields.currency_of(currency)
    scope = (wallet_id, currency, wanted)
    page = await statement_page(
        book,
        wallet_id,
        currency,
        wanted,
        after_account_sequence=position_of(cursor, 0, *scope, field="cursor"),
        lines_max=limit,
    )
    return StatementBody(
        items=[statement_line_body(line, currency) for line in page.lines],
        next_cursor=page_token(page.next_after_account_sequence, *scope) or None,
    )


async def read_accounts(book: Book, wanted: AccountsFilter, cursor: str, limit: int) -> AccountsBody:
    """Read a page of the chart."""
    page = await accounts_page(
        book, wanted, after_code=position_of(cursor, "", wanted, field="cursor"), accounts_max=limit
    )
    return AccountsBody(
        items=[account_body(account) for account in page.accounts],
        next_cursor=page_token(page.next_after_code, wanted) or None,
    )
