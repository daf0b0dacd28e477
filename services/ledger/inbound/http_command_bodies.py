"""The JSON of the ledger's commands over HTTP: what is asked, and the proof that it was done."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response

from services.ledger.commands.transfer import AccountRef, ReceivableRef, SystemRef, TransferLeg, WalletRef
from services.ledger.domain.account import AccountType
from services.ledger.domain.receipt import Receipt
from services.ledger.inbound import fields
from services.money_json import MoneyBody
from services.runtime.errors import InvalidArgumentError
from services.runtime.idempotency import REPLAYED_HEADER

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An instant with its offset from UTC."""

Answer = dict[str, Any]


class CommandBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every command may carry; see commands.proto."""

    metadata: dict[str, str] = {}
    """To be found again with the record; at most 4,096 bytes as JSON."""
    dry_run: bool = False
    """Decide and change nothing."""


class OpenAccountBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which account to open."""

    currency: str


class DepositBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the treasury brings in."""

    amount: MoneyBody
    note: str = ""
    effective_at: Instant | None = None
    """When it counts, if not now."""


class WithdrawalBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes out."""

    amount: MoneyBody
    note: str = ""


class TreasuryWithdrawalBody(WithdrawalBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the treasury takes out."""

    effective_at: Instant | None = None
    """When it counts, if not now."""


class TransferLegBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one account receives (positive) or pays (negative); exactly one of the three says which account."""

    amount: MoneyBody
    wallet_id: str | None = None
    system_account: AccountType | None = None
    receivable_seller_id: str | None = None

    def to_leg(self) -> TransferLeg:
        """Read the leg.

        Raises:
            InvalidArgumentError: `legs_malformed`, `id_malformed`, `invalid_amount` or `unknown_asset`.
        """
        return TransferLeg(self._account(), self.amount.to_money())

    def _account(self) -> AccountRef:
        match (self.wallet_id, self.system_account, self.receivable_seller_id):
            case (str() as wallet_id, None, None):
                return WalletRef(fields.id_of(wallet_id, "legs.wallet_id"))
            case (None, AccountType() as account_type, None):
                return SystemRef(account_type)
            case (None, None, str() as seller_id):
                return ReceivableRef(fields.id_of(seller_id, "legs.receivable_seller_id"))
            case _:
                raise InvalidArgumentError("A leg names one account.", reason="legs_malformed")


class TransferBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who pays and who receives: 2 to 100 legs that sum to zero in each asset."""

    legs: list[TransferLegBody]
    effective_at: Instant | None = None
    """When it counts, if not now."""


class LimitBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far below zero an account may go; 0 takes the limit away."""

    overdraft_limit: MoneyBody


class ReversalBody(CommandBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing more than what every command may carry."""


class ReceiptBody(msgspec.Struct, frozen=True, kw_only=True):
    """The proof that a command was done; of a dry run, that it would have been."""

    journal_sequence: int
    """0 when it was already so, and for a dry run."""
    recorded_at: datetime
    replayed: bool
    dry_run: bool


class DepositedBody(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a deposit or a withdrawal."""

    wallet_id: UUID
    amount: MoneyBody
    journal_sequence: int
    recorded_at: datetime
    replayed: bool
    dry_run: bool


def receipt_response(receipt: Receipt) -> Response[ReceiptBody]:
    """Answer a command."""
    body = ReceiptBody(
        journal_sequence=receipt.journal_sequence,
        recorded_at=receipt.recorded_at,
        replayed=receipt.replayed,
        dry_run=receipt.dry_run,
    )
    return Response(body, status_code=_status_of(receipt), headers=_headers_of(receipt))


def moved_response(receipt: Receipt, wallet_id: UUID, amount: MoneyBody) -> Response[DepositedBody]:
    """Answer a deposit or a withdrawal."""
    body = DepositedBody(
        wallet_id=wallet_id,
        amount=amount,
        journal_sequence=receipt.journal_sequence,
        recorded_at=receipt.recorded_at,
        replayed=receipt.replayed,
        dry_run=receipt.dry_run,
    )
    return Response(body, status_code=_status_of(receipt), headers=_headers_of(receipt))


def _status_of(receipt: Receipt) -> int:
    """A dry run made nothing."""
    return 200 if receipt.dry_run else 201


def _headers_of(receipt: Receipt) -> Mapping[str, str]:
    return {REPLAYED_HEADER: "true"} if receipt.replayed else {}
