"""Facts about wallets, as the ledger tells them to the world.

A wallet's events are numbered without gaps, over all its currencies. Here they are plain values; the doors encode them.
Facts and holds are stored as they are, as arrays under the fact's name: a new field goes to the end and has a default.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.money import Money


class AccountOpened(Struct, frozen=True, gc=False, array_like=True, tag="account_opened"):
    """An account was opened."""


class FundsDeposited(Struct, frozen=True, gc=False, array_like=True, tag="funds_deposited"):
    """Money came in from outside."""

    amount: Money


class FundsWithdrawn(Struct, frozen=True, gc=False, array_like=True, tag="funds_withdrawn"):
    """Money went out."""

    amount: Money


class FundsTransferred(Struct, frozen=True, gc=False, array_like=True, tag="funds_transferred"):
    """A transfer paid the wallet (a positive amount) or took from it."""

    amount: Money


class LimitChanged(Struct, frozen=True, gc=False, array_like=True, tag="limit_changed"):
    """The overdraft limit was set; the account has the new one."""

    previous_overdraft_limit_minor: int


class RecordReversed(Struct, frozen=True, gc=False, array_like=True, tag="record_reversed"):
    """A record that touched the wallet was undone; `amount` is what that did to the wallet."""

    journal_sequence: int
    amount: Money


class FundsReserved(Struct, frozen=True, gc=False, array_like=True, tag="funds_reserved"):
    """Money was set aside."""

    hold: Hold


class HoldCommitted(Struct, frozen=True, gc=False, array_like=True, tag="hold_committed"):
    """A hold became permanent."""

    hold: Hold


class FundsCaptured(Struct, frozen=True, gc=False, array_like=True, tag="funds_captured"):
    """A hold paid sellers."""

    hold: Hold
    amount: Money
    capture_number: int


class HoldVoided(Struct, frozen=True, gc=False, array_like=True, tag="hold_voided"):
    """A hold was released."""

    hold: Hold


class HoldExpired(Struct, frozen=True, gc=False, array_like=True, tag="hold_expired"):
    """A hold ran out before it was committed."""

    hold: Hold


class SaleCredited(Struct, frozen=True, gc=False, array_like=True, tag="sale_credited"):
    """A seller was paid `gross - fee`."""

    hold_id: UUID
    capture_number: int
    gross: Money
    fee: Money


class RefundCredited(Struct, frozen=True, gc=False, array_like=True, tag="refund_credited"):
    """A buyer got money back."""

    hold: Hold
    amount: Money
    capture_number: int


class RefundDebited(Struct, frozen=True, gc=False, array_like=True, tag="refund_debited"):
    """A seller gave `gross - fee` back; `receivable` of it the wallet lacked, and the seller owes it now."""

    hold_id: UUID
    capture_number: int
    gross: Money
    fee: Money
    receivable: Money


class SettlementRefused(Struct, frozen=True, gc=False, array_like=True, tag="settlement_refused"):
    """A capture was refused for good."""

    hold_id: UUID
    capture_number: int
    reason: str
    message: str


Fact = (
    AccountOpened
    | FundsDeposited
    | FundsWithdrawn
    | FundsTransferred
    | LimitChanged
    | RecordReversed
    | FundsReserved
    | HoldCommitted
    | FundsCaptured
    | HoldVoided
    | HoldExpired
    | SaleCredited
    | RefundCredited
    | RefundDebited
    | SettlementRefused
)
"""What can happen to a wallet."""


class WalletEvent(Struct, frozen=True, kw_only=True, gc=False):
    """A numbered fact. `account` shows the balance after it; `journal_sequence` is 0 for a refusal.

    `sequence` is its number in the wallet, or 0 in a wallet without any account: only a refusal is told to such.
    `previous_position` is the place in the outbox of the wallet's event before it, or 0.
    """

    wallet_id: UUID
    sequence: int
    previous_position: int
    recorded_at: datetime
    journal_sequence: int
    account: Account
    fact: Fact
    traceparent: str
