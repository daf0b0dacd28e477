"""A committer that remembers what it was asked and answers as it is told."""

from collections.abc import Callable, Sequence

from services.ledger.commands.command import Command
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError
from tests.support.ledger_commands import NOW

Answer = Callable[[Command], Receipt | TradeFlowError]


def accept(_command: Command) -> Receipt:
    """Accept everything."""
    return Receipt(journal_sequence=1, recorded_at=NOW)


class RecordingCommitter:
    """Fits the port `Submitter`."""

    def __init__(self, answer: Answer = accept) -> None:
        """Answer each command so."""
        self.answer = answer
        self.batches: list[list[Command]] = []

    async def submit(self, command: Command) -> Receipt:
        """Take one command."""
        (outcome,) = await self.submit_many([command])
        if isinstance(outcome, TradeFlowError):
            raise outcome
        return outcome

    async def submit_many(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        """Take commands."""
        self.batches.append(list(commands))
        return [self.answer(command) for command in commands]
