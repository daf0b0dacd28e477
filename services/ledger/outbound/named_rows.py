"""Which rows a batch names: what must be read before it can be decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.commands.command import Command
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.shape import KeyedCommand
from services.ledger.domain.account import AccountType, system_account_code, wallet_account_code
from services.ledger.domain.hold import Hold


@dataclass(slots=True)
class NamedRows:
    """Names of rows, without repetition, in the order they were met.

    `holds_with_legs` are holds whose captures matter; `wallets` may get an event.
    """

    keys: dict[str, dict[str, None]] = field(default_factory=dict)
    holds: dict[UUID, None] = field(default_factory=dict)
    holds_with_legs: dict[UUID, None] = field(default_factory=dict)
    accounts: dict[str, None] = field(default_factory=dict)
    wallets: dict[UUID, None] = field(default_factory=dict)

    def add_wallet_account(self, wallet_id: UUID, currency: str) -> None:
        """Name a wallet and its account."""
        self.accounts[wallet_account_code(wallet_id, currency)] = None
        self.wallets[wallet_id] = None

    def add_system_account(self, account_type: AccountType, currency: str) -> None:
        """Name one of the platform's own accounts."""
        self.accounts[system_account_code(account_type, currency)] = None


def rows_named_by(commands: Iterable[Command]) -> NamedRows:
    """List what the commands themselves name."""
    named = NamedRows()
    for command in commands:
        if isinstance(command, KeyedCommand):
            named.keys.setdefault(command.service, {})[command.idempotency_key] = None
        if isinstance(command, OpenAccount):
            named.add_wallet_account(command.wallet_id, command.currency)
        elif isinstance(command, Deposit):
            named.add_wallet_account(command.wallet_id, command.amount.currency)
            named.add_system_account(AccountType.FUNDING, command.amount.currency)
        else:
            named.holds[command.hold_id] = None
            _add_hold_command(named, command)
    return named


def _add_hold_command(named: NamedRows, command: Command) -> None:
    if isinstance(command, ReserveFunds):
        named.add_wallet_account(command.wallet_id, command.amount.currency)
    elif isinstance(command, CaptureFunds):
        currency = command.amount.currency
        named.holds_with_legs[command.hold_id] = None
        named.add_wallet_account(command.wallet_id, currency)
        named.add_system_account(AccountType.REVENUE, currency)
        for allocation in command.allocations:
            named.add_wallet_account(allocation.seller_id, currency)
    elif isinstance(command, RefundCapture):
        named.holds_with_legs[command.hold_id] = None


def add_rows_named_by_holds(named: NamedRows, commands: Sequence[Command], holds: Mapping[UUID, Hold]) -> None:
    """List what the holds name, once they are read: their wallets, and the sellers of refunds in their currency.

    A hold that the same batch reserves isn't read: its currency is the reserve's.
    """
    currencies = {hold.hold_id: hold.currency for hold in holds.values() if hold.currency}
    for hold in holds.values():
        if hold.currency:
            named.add_wallet_account(hold.wallet_id, hold.currency)
    for command in commands:
        if isinstance(command, ReserveFunds):
            currencies.setdefault(command.hold_id, command.amount.currency)
    for command in commands:
        currency = currencies.get(command.hold_id) if isinstance(command, RefundCapture) else None
        if isinstance(command, RefundCapture) and currency is not None:
            named.add_system_account(AccountType.REVENUE, currency)
            for leg in command.legs:
                named.add_wallet_account(leg.seller_id, currency)
