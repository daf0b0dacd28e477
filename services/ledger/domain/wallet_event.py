"""Facts about wallets, as the ledger tells them to the world.

A wallet's events are numbered without gaps, over all its currencies. Here they are plain values; the doors encode them.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.money import Money


@dataclass(frozen=True, slots=True)
class AccountOpened:
    """An account was opened."""


@dataclass(frozen=True, slots=True)
class FundsDeposited:
    """Money came in from outside."""

    amount: Money


@dataclass(frozen=True, slots=True)
class FundsReserved:
    """Money was set aside."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class HoldCommitted:
    """A hold became permanent."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class FundsCaptured:
    """A hold paid sellers."""

    hold: Hold
    amount: Money
    capture_number: int


@dataclass(frozen=True, slots=True)
class HoldVoided:
    """A hold was released."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class HoldExpired:
    """A hold ran out before it was committed."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class SaleCredited:
    """A seller was paid `gross - fee`."""

    hold_id: UUID
    capture_number: int
    gross: Money
    fee: Money


@dataclass(frozen=True, slots=True)
class RefundCredited:
    """A buyer got money back."""

    hold: Hold
    amount: Money
    capture_number: int


@dataclass(frozen=True, slots=True)
class RefundDebited:
    """A seller gave `gross - fee` back."""

    hold_id: UUID
    capture_number: int
    gross: Money
    fee: Money


@dataclass(frozen=True, slots=True)
class SettlementRefused:
    """A capture was refused for good."""

    hold_id: UUID
    capture_number: int
    reason: str
    message: str


Fact = (
    AccountOpened
    | FundsDeposited
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletEvent:
    """A numbered fact. `account` shows the balance after it; `journal_sequence` is 0 for a refusal."""

    wallet_id: UUID
    sequence: int
    recorded_at: datetime
    journal_sequence: int
    account: Account
    fact: Fact
    traceparent: str
