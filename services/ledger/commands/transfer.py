"""Move money between accounts, as one entry: any number of payers, receivers and assets.

An exchange of one asset for another is four legs: the wallet and the exchange account in one asset, and the exchange
account and the wallet in the other.
"""

import struct
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import force_setattr

from services.ledger.commands.guards import require_covered, require_effective_by
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand, require_effective_date
from services.ledger.commands.state import BookState
from services.ledger.domain.account import (
    AccountType,
    receivable_account_code,
    system_account_code,
    wallet_account_code,
)
from services.ledger.domain.canonical import Field
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.refusals import AccountNotOpenError, InvalidAmountError
from services.ledger.domain.wallet_event import FundsTransferred
from services.money import Money
from services.runtime.errors import InvalidArgumentError

_AMOUNT_AND_LENGTH = struct.Struct(">qB").pack

LEGS_MIN = 2
"""The fewest legs of one transfer: somebody pays and somebody receives."""

LEGS_MAX = 100
"""The most legs of one transfer: bounds a record's size and its number of postings."""

SYSTEM_ACCOUNT_TYPES = frozenset({AccountType.FUNDING, AccountType.REVENUE, AccountType.EXCHANGE})
"""The platform's own accounts that a transfer may name, one in each asset."""


class WalletRef(Struct, frozen=True, gc=False):
    """A user's account in the leg's asset."""

    wallet_id: UUID

    def code(self, currency: str) -> str:
        """Name the account."""
        return wallet_account_code(self.wallet_id, currency)

    def identity(self) -> bytes:
        """Tell it from others."""
        return b"w" + self.wallet_id.bytes


class SystemRef(Struct, frozen=True, gc=False):
    """One of the platform's own accounts, in the leg's asset."""

    account_type: AccountType

    def code(self, currency: str) -> str:
        """Name the account."""
        return system_account_code(self.account_type, currency)

    def identity(self) -> bytes:
        """Tell it from others."""
        return b"s" + self.account_type.value.encode()


class ReceivableRef(Struct, frozen=True, gc=False):
    """What a seller owes the platform, in the leg's asset: a positive amount pays it off."""

    seller_id: UUID

    def code(self, currency: str) -> str:
        """Name the account."""
        return receivable_account_code(self.seller_id, currency)

    def identity(self) -> bytes:
        """Tell it from others."""
        return b"r" + self.seller_id.bytes


AccountRef = WalletRef | SystemRef | ReceivableRef
"""Which account a leg moves."""


class TransferLeg(Struct, frozen=True, gc=False):
    """What one account receives (a credit, positive) or pays (a debit, negative). `code` names the account."""

    account: AccountRef
    amount: Money
    code: str = ""

    def __post_init__(self) -> None:
        # Once, since it is asked for many times and writes a UUID.
        force_setattr(self, "code", self.account.code(self.amount.currency))

    def content(self) -> bytes:
        """Say what it asks, as one field: the amount, the asset's length and code, the account."""
        amount = self.amount
        currency = amount.currency.encode()
        return _AMOUNT_AND_LENGTH(amount.amount_minor, len(currency)) + currency + self.account.identity()


class Transfer(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module."""

    kind: ClassVar[str] = "transfer"

    legs: tuple[TransferLeg, ...]
    effective_at: datetime | None = None

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.effective_at, *[leg.content() for leg in self.legs])

    def check_shape(self) -> None:
        """Guard.

        2 to 100 legs on accounts that are named once (legs_malformed), of amounts that aren't zero (invalid_amount),
        that sum to zero in each asset (legs_unbalanced), and the effective date (instant_malformed).
        """
        _require_legs(self.legs)
        totals: dict[str, int] = {}
        for leg in self.legs:
            amount = leg.amount
            if amount.amount_minor == 0:
                raise InvalidAmountError("A leg moves something.")
            totals[amount.currency] = totals.get(amount.currency, 0) + amount.amount_minor
        for currency, total in totals.items():
            if total:
                raise InvalidArgumentError(
                    f"The legs in {currency} sum to {total}, not to zero.",
                    reason="legs_unbalanced",
                    details={"currency": currency, "sum_minor": str(total)},
                )
        require_effective_date(self.effective_at)


def decide_transfer(state: BookState, command: Transfer, now: datetime) -> Outcome:
    """Post the legs, in their order.

    Guards in order: accounts that pay are open (account_not_open; the platform's own always are), effective date
    (effective_in_the_future), funds of those that pay (insufficient_funds, exceeds_receivable), overflow
    (balance_overflow). Accounts that receive are opened if need be.
    """
    accounts = state.accounts
    for leg in command.legs:
        if leg.code not in accounts:
            _require_receiver(leg)
    require_effective_by(command.effective_at, now)
    for leg in command.legs:
        account = accounts.get(leg.code)
        if account is not None:
            require_covered(account, leg.amount.amount_minor)

    draft = Draft(state, now, command, effective_at=command.effective_at)
    for leg in command.legs:
        if leg.code not in accounts:
            _open(draft, leg)
    draft.record(
        RecordKind.TRANSFER, postings=draft.post([(leg.code, leg.amount.amount_minor) for leg in command.legs])
    )
    for leg in command.legs:
        account = draft.accounts[leg.code]
        if account.wallet_id is not None:
            draft.emit(account.wallet_id, account, FundsTransferred(leg.amount))
    return accepted(draft)


def _require_receiver(leg: TransferLeg) -> None:
    """Guard: an account that isn't open yet pays nothing, unless it is the platform's own."""
    if isinstance(leg.account, SystemRef):
        return
    # A receivable account grows by debits: who pays a debt off is credited there.
    if (leg.amount.amount_minor < 0) is isinstance(leg.account, WalletRef):
        raise AccountNotOpenError(f"There is no account in {leg.amount.currency} that could pay.")


def _open(draft: Draft, leg: TransferLeg) -> None:
    reference, currency = leg.account, leg.amount.currency
    if isinstance(reference, WalletRef):
        draft.open_wallet_account(reference.wallet_id, currency)
    elif isinstance(reference, ReceivableRef):
        draft.open_receivable_account(reference.seller_id, currency)
    else:
        draft.open_system_account(reference.account_type, currency)


def _require_legs(legs: tuple[TransferLeg, ...]) -> None:
    if not LEGS_MIN <= len(legs) <= LEGS_MAX or len({leg.code for leg in legs}) != len(legs):
        raise InvalidArgumentError(f"{LEGS_MIN} to {LEGS_MAX} legs, each account once.", reason="legs_malformed")
    for leg in legs:
        reference = leg.account
        if type(reference) is SystemRef and reference.account_type not in SYSTEM_ACCOUNT_TYPES:
            raise InvalidArgumentError("No system account is of that type.", reason="legs_malformed")
