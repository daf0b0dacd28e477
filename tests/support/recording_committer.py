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
        self.timeouts: list[float | None] = []
        self.batches: list[list[Command]] = []

    async def submit(self, command: Command, *, timeout_seconds: float | None = None) -> Receipt:
        """Take one command."""
        (outcome,) = await self.submit_many([command], timeout_seconds=timeout_seconds)
        if isinstance(outcome, TradeFlowError):
            raise outcome
        return outcome

    async def submit_many(
        self,
        commands: Sequence[Command],
        *,
        timeout_seconds: float | None = None,
    ) -> list[Receipt | TradeFlowError]:
        """Take commands."""
        self.timeouts.append(timeout_seconds)
        self.batches.append(list(commands))
        return [self.answer(command) for command in commands]
