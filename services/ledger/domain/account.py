"""Accounts: who owns what, in one asset each.

A wallet is one owner's accounts in all assets; its id is the owner's user id. The platform's own accounts have codes
that no user id can spell.
"""

from enum import Enum
from typing import NoReturn
from uuid import UUID

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from services.ledger.domain.refusals import BalanceOverflowError, InsufficientFundsError
from services.money import AMOUNT_MINOR_MAX

TURNOVER_MINOR_MAX = 2**63 - 1
"""The most an account may take in, or give out, over its life, in minor units: what the databases' columns hold."""


class AccountType(Enum):
    """What an account is for, which also says on which side it grows."""

    WALLET = "wallet"
    """A user's money: the platform owes it, so credits make it grow."""
    FUNDING = "funding"
    """Money brought in from outside: the platform has it at its bank, so debits make it grow."""
    REVENUE = "revenue"
    """The platform's fees: credits make it grow."""
    RECEIVABLE = "receivable"
    """What a seller owes the platform: debits make it grow."""
    EXCHANGE = "exchange"
    """What the platform took of one asset for another: credits make it grow, and it goes both ways."""

    def __init__(self, name: str) -> None:
        """Note on which side it grows: whether debits are the account's normal side."""
        self.grows_by_debits = name in {"funding", "receivable"}


def wallet_account_code(wallet_id: UUID, currency: str) -> str:
    """Name a wallet's account in one asset."""
    # msgspec writes a UUID in a quarter of the time.
    return f"wallet:{to_builtins(wallet_id)}:{currency}"


_WALLET_NAME = slice(len("wallet:"), len("wallet:") + 36)


def system_account_code(account_type: AccountType, currency: str) -> str:
    """Name one of the platform's own accounts."""
    return f"system:{account_type.value}:{currency}"


def receivable_account_code(seller_id: UUID, currency: str) -> str:
    """Name the account of what a seller owes the platform."""
    return f"receivable:{to_builtins(seller_id)}:{currency}"


class Account(Struct, frozen=True, kw_only=True, gc=False):
    """One account with its balances, all in minor units.

    `debits_posted` and `credits_posted` are turnovers, which only grow and may pass 2^53 - 1; the pending ones are what
    open holds set aside. `account_sequence` counts the postings, without gaps. `limit_sequence` is the record that set
    the overdraft limit.
    `event_sequence` is the wallet's newest event number as of this account's last event, and `event_position` that
    event's place in the outbox; the wallet's newest are the largest over its accounts.
    """

    account_id: int
    code: str
    account_type: AccountType
    wallet_id: UUID | None
    currency: str
    opened_sequence: int
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0
    overdraft_limit: int = 0
    limit_sequence: int = 0
    account_sequence: int = 0
    event_sequence: int = 0
    event_position: int = 0

    @property
    def wallet_name(self) -> str:
        """The wallet's id as text, cut out of the code: that takes a tenth of writing a UUID. System accounts: none."""
        return "" if self.wallet_id is None else self.code[_WALLET_NAME]

    @property
    def balance_minor(self) -> int:
        """Credits less debits, whatever the normal side: these sum to zero over a book."""
        return self.credits_posted - self.debits_posted

    @property
    def posted_minor(self) -> int:
        """Settled money, on the account's normal side."""
        balance = self.credits_posted - self.debits_posted
        return -balance if self.account_type.grows_by_debits else balance

    @property
    def pending_outgoing_minor(self) -> int:
        """Money that is still posted and already promised."""
        return self.credits_pending if self.account_type.grows_by_debits else self.debits_pending

    @property
    def available_minor(self) -> int:
        """What may be spent now."""
        if self.account_type.grows_by_debits:
            return self.debits_posted - self.credits_posted - self.credits_pending + self.overdraft_limit
        return self.credits_posted - self.debits_posted - self.debits_pending + self.overdraft_limit

    @property
    def told_available_minor(self) -> int:
        """What doors and events tell of that: a large limit makes it more than amounts go, and guards use all of it."""
        return min(self.available_minor, AMOUNT_MINOR_MAX)

    def credit(self, amount_minor: int) -> "Account":
        """Receive; one posting.

        Raises:
            BalanceOverflowError: It would hold more than 2^53 - 1.
        """
        credits_posted = self.credits_posted + amount_minor
        if credits_posted - self.debits_posted > AMOUNT_MINOR_MAX or credits_posted > TURNOVER_MINOR_MAX:
            self._overflow()
        return replace(self, credits_posted=credits_posted, account_sequence=self.account_sequence + 1)

    def debit(self, amount_minor: int) -> "Account":
        """Pay; one posting. Whether funds suffice is asked before, by `require_available`: captures never ask again.

        Raises:
            BalanceOverflowError: It would fall below -(2^53 - 1).
        """
        debits_posted = self.debits_posted + amount_minor
        if debits_posted - self.credits_posted > AMOUNT_MINOR_MAX or debits_posted > TURNOVER_MINOR_MAX:
            self._overflow()
        return replace(self, debits_posted=debits_posted, account_sequence=self.account_sequence + 1)

    def set_aside(self, amount_minor: int) -> "Account":
        """Promise a part of the balance; no posting. Negative amounts release."""
        if self.account_type.grows_by_debits:
            return replace(self, credits_pending=self.credits_pending + amount_minor)
        return replace(self, debits_pending=self.debits_pending + amount_minor)

    def limit(self, overdraft_limit_minor: int, sequence: int) -> "Account":
        """Set how far below zero it may go; the caller made sure that this covers what is in use."""
        return replace(self, overdraft_limit=overdraft_limit_minor, limit_sequence=sequence)

    def require_available(self, amount_minor: int) -> None:
        """Guard what leaves an account.

        Raises:
            InsufficientFundsError: Less is available, the overdraft limit included.
        """
        available = self.available_minor
        if available < amount_minor:
            raise InsufficientFundsError(
                f"{amount_minor} minor units of {self.currency} are needed and {available} are available.",
                details={"available_minor": str(available), "needed_minor": str(amount_minor)},
            )

    def require_room_to_hold(self, amount_minor: int) -> None:
        """Guard what is set aside: a large limit makes more available than any amount may be.

        Raises:
            BalanceOverflowError: Holds would have more than 2^53 - 1.
        """
        if self.pending_outgoing_minor + amount_minor > AMOUNT_MINOR_MAX:
            self._overflow()

    def _overflow(self) -> NoReturn:
        raise BalanceOverflowError(f"Account {self.code} would pass the largest balance, {AMOUNT_MINOR_MAX}.")


def unopened_wallet_account(wallet_id: UUID, currency: str) -> Account:
    """Stand for an account that was never opened: all zeros."""
    return Account(
        account_id=0,
        code=wallet_account_code(wallet_id, currency),
        account_type=AccountType.WALLET,
        wallet_id=wallet_id,
        currency=currency,
        opened_sequence=0,
    )
