"""The ledger's HTTP door for those who watch over the book: the chart of accounts, the journal, and every wallet."""

from collections.abc import Mapping
from typing import Any

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery

from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import READING_ROLES
from services.ledger.inbound.http_api import read_accounts, read_balance, read_statement
from services.ledger.inbound.http_bodies import (
    AccountsBody,
    BalanceBody,
    HoldBody,
    PostedBalanceBody,
    RecordBody,
    RecordsBody,
    StatementBody,
    hold_body,
    record_body,
)
from services.ledger.inbound.http_requests import (
    LINES_OF_PAGE_DEFAULT,
    Currency,
    Cursor,
    Instant,
    Kinds,
    Limit,
    Order,
    Side,
    Types,
    Way,
    records_filter,
    statement_filter,
)
from services.ledger.inbound.page_tokens import page_token, position_of
from services.ledger.queries.accounts import AccountsFilter
from services.ledger.queries.book import Book
from services.ledger.queries.hold import hold_by_id
from services.ledger.queries.records import record_by_sequence, records_page
from services.runtime.http_auth import require_roles

ROUTE: Mapping[str, Any] = {"tags": ["book"], "guards": [require_roles(*sorted(READING_ROLES))]}
"""What all routes here have in common."""


def journal_routes(book: Book) -> list[BaseRouteHandler]:
    """Make the routes."""
    return [*_chart_routes(book), *_record_routes(book), *_wallet_routes(book)]


def _chart_routes(book: Book) -> list[BaseRouteHandler]:
    @get("/api/v1/accounts", operation_id="ListAccounts", **ROUTE)
    async def list_accounts(
        types: Types = None,
        side: Side = None,
        currency: Currency = "",
        wallet_id: FromQuery[str] = "",
        code_prefix: FromQuery[str] = "",
        cursor: Cursor = "",
        limit: Limit = LINES_OF_PAGE_DEFAULT,
    ) -> AccountsBody:
        """List the chart of accounts in order of the codes."""
        wanted = AccountsFilter(
            types=frozenset(types or ()),
            grows_by_debits=None if side is None else side == "debit",
            currency=fields.currency_of(currency) if currency else "",
            wallet_id=fields.id_of(wallet_id, "wallet_id") if wallet_id else None,
            code_prefix=code_prefix,
        )
        return await read_accounts(book, wanted, cursor, limit)

    return [list_accounts]


def _record_routes(book: Book) -> list[BaseRouteHandler]:
    @get("/api/v1/records/{journal_sequence:int}", operation_id="GetRecord", **ROUTE)
    async def get_record(journal_sequence: FromPath[int]) -> RecordBody:
        """Read a record of the journal with its postings."""
        return record_body(await record_by_sequence(book, journal_sequence))

    @get("/api/v1/records", operation_id="ListRecords", **ROUTE)
    async def list_records(
        hold_id: FromQuery[str] = "",
        account_code: FromQuery[str] = "",
        kinds: Kinds = None,
        recorded_from: Instant = "",
        recorded_until: Instant = "",
        cursor: Cursor = "",
        limit: Limit = LINES_OF_PAGE_DEFAULT,
    ) -> RecordsBody:
        """List records of the journal, oldest first."""
        wanted = records_filter(hold_id, account_code, kinds, recorded_from, recorded_until)
        page = await records_page(
            book, wanted, after_sequence=position_of(cursor, 0, wanted, field="cursor"), records_max=limit
        )
        return RecordsBody(
            items=[record_body(record) for record in page.records],
            next_cursor=page_token(page.next_after_sequence, wanted) or None,
        )

    @get("/api/v1/holds/{hold_id:str}", operation_id="GetHold", **ROUTE)
    async def get_hold(hold_id: FromPath[str]) -> HoldBody:
        """Read a hold."""
        return hold_body(await hold_by_id(book, fields.id_of(hold_id, "hold_id")))

    return [get_record, list_records, get_hold]


def _wallet_routes(book: Book) -> list[BaseRouteHandler]:
    @get("/api/v1/wallets/{wallet_id:str}/balance", operation_id="GetBalance", **ROUTE)
    async def get_balance(
        wallet_id: FromPath[str], currency: Currency, at: Instant = "", effective_at: Instant = ""
    ) -> BalanceBody | PostedBalanceBody:
        """Read a wallet's balance, now or as recorded `at` and counted by `effective_at`."""
        return await read_balance(book, fields.id_of(wallet_id, "wallet_id"), currency, at, effective_at)

    @get("/api/v1/wallets/{wallet_id:str}/statement", operation_id="GetStatement", **ROUTE)
    async def get_statement(
        wallet_id: FromPath[str],
        currency: Currency,
        cursor: Cursor = "",
        limit: Limit = LINES_OF_PAGE_DEFAULT,
        recorded_from: Instant = "",
        recorded_until: Instant = "",
        kinds: Kinds = None,
        direction: Way = None,
        order: Order = "oldest_first",
    ) -> StatementBody:
        """Read a wallet's postings in one currency."""
        wanted = statement_filter(recorded_from, recorded_until, kinds, direction, order)
        return await read_statement(book, fields.id_of(wallet_id, "wallet_id"), currency, wanted, cursor, limit)

    return [get_balance, get_statement]
