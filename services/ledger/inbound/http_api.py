"""The ledger's HTTP door for users: their own wallet, and the treasury's deposits.

The gateway passes requests on with the user's own token, which is checked here again.
"""

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from services.ledger.commands.deposit import Deposit
from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import TREASURY_ROLE
from services.ledger.inbound.http_bodies import (
    BalanceBody,
    DepositBody,
    DepositedBody,
    StatementBody,
    balance_body,
    statement_line_body,
)
from services.ledger.ports import Submitter
from services.ledger.queries.balance import wallet_account
from services.ledger.queries.book import Book
from services.ledger.queries.statement import statement_page
from services.runtime.errors import ForbiddenError, InvalidArgumentError
from services.runtime.http_auth import Caller, require_roles
from services.runtime.idempotency import REPLAYED_HEADER, IdempotencyKey
from services.runtime.jwt import Principal
from services.runtime.tracing import current_traceparent

LINES_OF_PAGE_DEFAULT = 50
LINES_OF_PAGE_MAX = 200
"""As for every list of the public API."""

CURSOR_DIGITS_MAX = 18
"""Keeps a cursor within what the database's integers hold."""

Limit = Annotated[int, QueryParameter(ge=1, le=LINES_OF_PAGE_MAX, description="How many lines at most.")]
Cursor = Annotated[str, QueryParameter(description="Where the page before ended: its `next_cursor`.")]
Currency = Annotated[str, QueryParameter(description="An ISO 4217 code in capitals.")]


def wallet_routes(book: Book) -> list[BaseRouteHandler]:
    """Make the routes that read the caller's own wallet."""

    @get("/api/v1/wallet/balance", operation_id="GetWalletBalance", tags=["wallet"])
    async def get_balance(principal: Caller, currency: Currency) -> BalanceBody:
        """Read the wallet's balance in one currency; zeros where no account was opened."""
        wallet_id = _own_wallet(principal)
        account = await wallet_account(book, wallet_id, fields.currency_of(currency))
        return balance_body(wallet_id, account)

    @get("/api/v1/wallet/statement", operation_id="GetWalletStatement", tags=["wallet"])
    async def get_statement(
        principal: Caller, currency: Currency, cursor: Cursor = "", limit: Limit = LINES_OF_PAGE_DEFAULT
    ) -> StatementBody:
        """Read the wallet's postings in one currency, oldest first."""
        page = await statement_page(
            book,
            _own_wallet(principal),
            fields.currency_of(currency),
            after_account_sequence=_sequence_of_cursor(cursor),
            lines_max=limit,
        )
        following = page.next_after_account_sequence
        return StatementBody(
            items=[statement_line_body(line, currency) for line in page.lines],
            next_cursor=str(following) if following else None,
        )

    return [get_balance, get_statement]


def treasury_routes(committer: Submitter) -> list[BaseRouteHandler]:
    """Make the routes that move money between the platform and the world."""

    @post(
        "/api/v1/wallets/{wallet_id:str}/deposits",
        operation_id="Deposit",
        tags=["treasury"],
        guards=[require_roles(TREASURY_ROLE)],
    )
    async def deposit(
        principal: Caller, idempotency_key: IdempotencyKey, wallet_id: FromPath[str], data: JSONBody[DepositBody]
    ) -> Response[DepositedBody]:
        """Bring money in for a wallet; its account is opened if need be."""
        command = _deposit_command(principal, idempotency_key, wallet_id, data)
        receipt = await committer.submit(command)
        body = DepositedBody(
            wallet_id=command.wallet_id,
            amount=data.amount,
            journal_sequence=receipt.journal_sequence,
            recorded_at=receipt.recorded_at,
            replayed=receipt.replayed,
        )
        return Response(body, status_code=201, headers={REPLAYED_HEADER: "true"} if receipt.replayed else {})

    return [deposit]


def _deposit_command(principal: Principal, idempotency_key: str, wallet_id: str, body: DepositBody) -> Deposit:
    return Deposit(
        service=f"user:{principal.subject}",
        idempotency_key=idempotency_key,
        traceparent=current_traceparent(),
        wallet_id=fields.id_of(wallet_id, "wallet_id"),
        amount=fields.positive_money(body.amount.amount_minor, body.amount.currency),
        note=body.note,
    )


def _own_wallet(principal: Principal) -> UUID:
    """Tell the wallet of a user; services have none."""
    if principal.is_service:
        raise ForbiddenError("Only users have wallets.", reason="user_token_required")
    return fields.id_of(principal.subject, "sub")


def _sequence_of_cursor(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= CURSOR_DIGITS_MAX):
        raise InvalidArgumentError("The cursor isn't one that a page gave.", reason="cursor_malformed")
    return int(cursor)
