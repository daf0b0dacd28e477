"""The ledger's HTTP door for the treasury: what moves money between the platform and the world, and inside of it.

A command's key is scoped to the user who sends it.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Response, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.set_limit import SetLimit
from services.ledger.commands.transfer import Transfer
from services.ledger.commands.withdraw import Withdraw
from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import TREASURY_ROLE
from services.ledger.inbound.http_command_bodies import (
    CommandBody,
    DepositBody,
    DepositedBody,
    LimitBody,
    OpenAccountBody,
    ReceiptBody,
    ReversalBody,
    TransferBody,
    TreasuryWithdrawalBody,
    moved_response,
    receipt_response,
)
from services.ledger.ports import Submitter
from services.runtime.http_auth import Caller, require_roles
from services.runtime.idempotency import IdempotencyKey
from services.runtime.jwt import Principal
from services.runtime.tracing import current_traceparent

ROUTE: Mapping[str, Any] = {"tags": ["treasury"], "guards": [require_roles(TREASURY_ROLE)]}
"""What all routes here have in common."""


def treasury_routes(committer: Submitter, *, shortfall_to_receivable: bool) -> list[BaseRouteHandler]:
    """Make the routes; `shortfall_to_receivable` as for `ReverseRecord`."""
    return [*_wallet_routes(committer), *_book_routes(committer, shortfall_to_receivable=shortfall_to_receivable)]


def _wallet_routes(committer: Submitter) -> list[BaseRouteHandler]:
    @post("/api/v1/wallets/{wallet_id:str}/deposits", operation_id="Deposit", **ROUTE)
    async def deposit(
        principal: Caller, idempotency_key: IdempotencyKey, wallet_id: FromPath[str], data: JSONBody[DepositBody]
    ) -> Response[DepositedBody]:
        """Bring money in for a wallet; its account is opened if need be."""
        command = Deposit(
            **_common(principal, idempotency_key, data),
            wallet_id=fields.id_of(wallet_id, "wallet_id"),
            amount=fields.positive_money(data.amount.amount_minor, data.amount.currency),
            note=data.note,
            effective_at=data.effective_at,
        )
        return moved_response(await committer.submit(command), command.wallet_id, data.amount)

    @post("/api/v1/wallets/{wallet_id:str}/withdrawals", operation_id="Withdraw", **ROUTE)
    async def withdraw(
        principal: Caller,
        idempotency_key: IdempotencyKey,
        wallet_id: FromPath[str],
        data: JSONBody[TreasuryWithdrawalBody],
    ) -> Response[DepositedBody]:
        """Take money out of a wallet."""
        command = Withdraw(
            **_common(principal, idempotency_key, data),
            wallet_id=fields.id_of(wallet_id, "wallet_id"),
            amount=fields.positive_money(data.amount.amount_minor, data.amount.currency),
            note=data.note,
            effective_at=data.effective_at,
        )
        return moved_response(await committer.submit(command), command.wallet_id, data.amount)

    @post("/api/v1/wallets/{wallet_id:str}/accounts", operation_id="OpenAccount", **ROUTE)
    async def open_account(
        principal: Caller, idempotency_key: IdempotencyKey, wallet_id: FromPath[str], data: JSONBody[OpenAccountBody]
    ) -> Response[ReceiptBody]:
        """Open a wallet's account; opening an open one is success."""
        command = OpenAccount(
            **_common(principal, idempotency_key, data),
            wallet_id=fields.id_of(wallet_id, "wallet_id"),
            currency=data.currency,
        )
        return receipt_response(await committer.submit(command))

    @post("/api/v1/wallets/{wallet_id:str}/limits", operation_id="SetLimit", **ROUTE)
    async def set_limit(
        principal: Caller, idempotency_key: IdempotencyKey, wallet_id: FromPath[str], data: JSONBody[LimitBody]
    ) -> Response[ReceiptBody]:
        """Say how far below zero a wallet's account may go."""
        command = SetLimit(
            **_common(principal, idempotency_key, data),
            wallet_id=fields.id_of(wallet_id, "wallet_id"),
            currency=data.overdraft_limit.currency,
            overdraft_limit_minor=data.overdraft_limit.amount_minor,
        )
        return receipt_response(await committer.submit(command))

    return [deposit, withdraw, open_account, set_limit]


def _book_routes(committer: Submitter, *, shortfall_to_receivable: bool) -> list[BaseRouteHandler]:
    @post("/api/v1/transfers", operation_id="Transfer", **ROUTE)
    async def transfer(
        principal: Caller, idempotency_key: IdempotencyKey, data: JSONBody[TransferBody]
    ) -> Response[ReceiptBody]:
        """Move money between accounts, in one record."""
        command = Transfer(
            **_common(principal, idempotency_key, data),
            legs=tuple(leg.to_leg() for leg in data.legs),
            effective_at=data.effective_at,
        )
        return receipt_response(await committer.submit(command))

    @post("/api/v1/records/{journal_sequence:int}/reversals", operation_id="ReverseRecord", **ROUTE)
    async def reverse(
        principal: Caller,
        idempotency_key: IdempotencyKey,
        journal_sequence: FromPath[int],
        data: JSONBody[ReversalBody],
    ) -> Response[ReceiptBody]:
        """Undo a record by a new one."""
        command = ReverseRecord(
            **_common(principal, idempotency_key, data),
            journal_sequence=journal_sequence,
            shortfall_to_receivable=shortfall_to_receivable,
        )
        return receipt_response(await committer.submit(command))

    return [transfer, reverse]


def _common(principal: Principal, idempotency_key: str, body: CommandBody) -> dict[str, Any]:
    """Read what every command has."""
    return {
        "service": f"user:{principal.subject}",
        "idempotency_key": idempotency_key,
        "traceparent": current_traceparent(),
        "metadata": body.metadata,
        "dry_run": body.dry_run,
    }
