"""A book in memory for tests of the ledger's rules: it decides commands at once, one or many at a time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Answer, Decision, decide
from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, wallet_account_code
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Record
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.wallet_event import WalletEvent
from services.runtime.errors import RejectedError
from tests.support.ledger_commands import BUYER, NOW, an_id


class MemoryBook:
    """Keeps the state, the journal and the events."""

    def __init__(self, *commands: Command) -> None:
        """Begin empty and run the commands; they must be accepted."""
        self.state = BookState(
            last_sequence=0, last_recorded_at=NOW - timedelta(days=1), last_account_id=0, last_event_sequence=0
        )
        self.state.wallets = defaultdict(str)
        self.now = NOW
        self.records: list[Record] = []
        self.events: list[WalletEvent] = []
        for command in commands:
            self.accept(command)

    def run(self, *commands: Command) -> list[Answer]:
        """Decide one batch."""
        return self.decide(commands).answers

    def decide(self, commands: Sequence[Command]) -> Decision:
        """Decide one batch and show all of the decision."""
        decision = decide(self.state, commands, self.now)
        for record in decision.records:
            entry = self.state.entry(record.sequence)
            assert entry is not None
            self.state.entries[record.sequence] = entry
        self.records += decision.records
        self.events += decision.events
        return decision

    def accept(self, command: Command) -> Receipt:
        """Decide one command that must be accepted."""
        (answer,) = self.run(command)
        assert isinstance(answer, Receipt), answer
        return answer

    def refuse(self, command: Command) -> RejectedError:
        """Decide one command that must be refused."""
        (answer,) = self.run(command)
        assert isinstance(answer, RejectedError), answer
        return answer

    def account(self, wallet: UUID = BUYER, currency: str = "EUR") -> Account:
        """Show a wallet's account."""
        return self.state.accounts[wallet_account_code(wallet, currency)]

    def hold(self, name: str = "order") -> Hold:
        """Show a hold."""
        return self.state.holds[an_id(name)]

    def pass_time(self, until: datetime) -> None:
        """Move the clock."""
        self.now = until
