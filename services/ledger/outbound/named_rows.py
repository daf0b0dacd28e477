"""Which rows a batch names: what must be read before it can be decided."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.commands.command import Command
from services.ledger.commands.commit_hold import CommitHold
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.housekeeping import ForgetExpiries, ForgetKeys, PruneAnswers
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.set_limit import SetLimit
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import KeyScope
from services.ledger.commands.transfer import Transfer, WalletRef
from services.ledger.commands.void_hold import VoidHold
from services.ledger.commands.withdraw import Withdraw
from services.ledger.domain.account import AccountType, receivable_account_code, system_account_code
from services.ledger.domain.hold import Hold


@dataclass(slots=True)
class NamedRows:
    """Names of rows, without repetition, in the order they were met.

    Of `wallets` all accounts are meant, in every asset; `codes` are those of other accounts. `holds_with_legs` are
    holds whose captures matter, `entries` the sequences of records to be taken back. `reserved` are those of the holds
    that a command means to make.
    """

    keys: dict[KeyScope, None] = field(default_factory=dict)
    holds: dict[UUID, None] = field(default_factory=dict)
    reserved: dict[UUID, None] = field(default_factory=dict)
    holds_with_legs: dict[UUID, None] = field(default_factory=dict)
    wallets: dict[UUID, None] = field(default_factory=dict)
    codes: dict[str, None] = field(default_factory=dict)
    entries: dict[int, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.keys, self.holds, self.holds_with_legs, self.wallets, self.codes, self.entries))

    def add_system_account(self, account_type: AccountType, currency: str) -> None:
        """Name one of the platform's own accounts."""
        self.codes[system_account_code(account_type, currency)] = None

    def add_refunded_seller(self, seller_id: UUID, currency: str) -> None:
        """Name the accounts that give a refund's part back: the seller's own, then what the seller owes."""
        self.wallets[seller_id] = None
        self.codes[receivable_account_code(seller_id, currency)] = None


def rows_named_by(commands: Iterable[Command]) -> NamedRows:
    """List what the commands themselves name."""
    named = NamedRows()
    for command in commands:
        if isinstance(command, KeyedCommand):
            named.keys[command.service, command.idempotency_key] = None
        _NAMERS[type(command)](named, command)
    return named


def rows_named_by_holds(commands: Iterable[Command], holds: Mapping[UUID, Hold]) -> NamedRows:
    """List what the commands' holds name, once they are read: their wallets, and the accounts of refunds.

    A hold that the same batch reserves isn't read: its currency is the reserve's.
    """
    named = NamedRows()
    reserved: dict[UUID, str] = {}
    for command in commands:
        if isinstance(command, ReserveFunds):
            reserved[command.hold_id] = command.amount.currency
        elif isinstance(command, ExpireHold) and command.hold_id in holds:
            named.wallets[holds[command.hold_id].wallet_id] = None
        elif isinstance(command, RefundCapture):
            hold = holds.get(command.hold_id)
            currency = reserved.get(command.hold_id) if hold is None else hold.currency
            if currency:
                named.add_system_account(AccountType.REVENUE, currency)
                for leg in command.legs:
                    named.add_refunded_seller(leg.seller_id, currency)
    return named


def _open_account(named: NamedRows, command: OpenAccount) -> None:
    named.wallets[command.wallet_id] = None


def _move_outside(named: NamedRows, command: Deposit | Withdraw) -> None:
    named.wallets[command.wallet_id] = None
    named.add_system_account(AccountType.FUNDING, command.amount.currency)


def _transfer(named: NamedRows, command: Transfer) -> None:
    for leg in command.legs:
        if isinstance(leg.account, WalletRef):
            named.wallets[leg.account.wallet_id] = None
        else:
            named.codes[leg.code] = None


def _set_limit(named: NamedRows, command: SetLimit) -> None:
    named.wallets[command.wallet_id] = None


def _reserve(named: NamedRows, command: ReserveFunds) -> None:
    named.reserved[command.hold_id] = None
    _hold_of_wallet(named, command)


def _hold_of_wallet(named: NamedRows, command: ReserveFunds | CommitHold | VoidHold) -> None:
    named.holds[command.hold_id] = None
    named.wallets[command.wallet_id] = None


def _capture(named: NamedRows, command: CaptureFunds) -> None:
    named.holds[command.hold_id] = None
    named.holds_with_legs[command.hold_id] = None
    named.wallets[command.wallet_id] = None
    named.add_system_account(AccountType.REVENUE, command.amount.currency)
    for allocation in command.allocations:
        named.wallets[allocation.seller_id] = None


def _refund(named: NamedRows, command: RefundCapture) -> None:
    named.holds[command.hold_id] = None
    named.holds_with_legs[command.hold_id] = None
    named.wallets[command.wallet_id] = None
    for leg in command.legs:
        named.wallets[leg.seller_id] = None


def _expire(named: NamedRows, command: ExpireHold) -> None:
    named.holds[command.hold_id] = None


def _reverse(named: NamedRows, command: ReverseRecord) -> None:
    named.entries[command.journal_sequence] = None


def _nothing(_named: NamedRows, _command: PruneAnswers | ForgetKeys) -> None:
    """Name nothing: the commands bring the answers with them, which nobody else changes."""


def _forget(named: NamedRows, command: ForgetExpiries) -> None:
    for _, hold_id in command.expiries:
        named.holds[hold_id] = None


_NAMERS: dict[type, Callable[[NamedRows, Any], None]] = {
    OpenAccount: _open_account,
    Deposit: _move_outside,
    Withdraw: _move_outside,
    Transfer: _transfer,
    SetLimit: _set_limit,
    ReserveFunds: _reserve,
    CommitHold: _hold_of_wallet,
    VoidHold: _hold_of_wallet,
    CaptureFunds: _capture,
    RefundCapture: _refund,
    ExpireHold: _expire,
    ReverseRecord: _reverse,
    PruneAnswers: _nothing,
    ForgetKeys: _nothing,
    ForgetExpiries: _forget,
}
