"""What the doors and the loops ask of the committer."""

from collections.abc import Sequence
from typing import Protocol

from services.ledger.commands.command import Command
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError


class Submitter(Protocol):
    """Takes commands and answers once they are durable, or refused."""

    async def submit(self, command: Command) -> Receipt:
        """Run one command, or raise why not."""
        ...

    async def submit_many(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        """Run commands in their order; one refusal doesn't disturb its neighbours."""
        ...
