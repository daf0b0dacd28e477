"""What the doors and the loops ask of the committer."""

from collections.abc import Sequence
from typing import Protocol

from services.ledger.commands.command import Command
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError


class Submitter(Protocol):
    """Takes commands and answers once they are durable, or refused.

    A command that was not begun within `timeout_seconds` is not done: `UnavailableError`, `deadline_exceeded`. One that
    was begun is done, even when its caller stops waiting.
    """

    async def submit(self, command: Command, *, timeout_seconds: float | None = None) -> Receipt:
        """Run one command, or raise why not."""
        ...

    async def submit_many(
        self, commands: Sequence[Command], *, timeout_seconds: float | None = None
    ) -> list[Receipt | TradeFlowError]:
        """Run commands in their order; one refusal doesn't disturb its neighbours."""
        ...
