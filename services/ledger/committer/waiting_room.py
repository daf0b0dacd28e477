"""Gather: where commands wait for their batch, in order, while the batch before them commits."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from services.ledger.commands.command import Command
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import UnavailableError

QUEUE_RETRY_AFTER_SECONDS = 0.5
"""The hint for those who found it full: by then some batches have gone."""

Reply = Receipt | Exception
"""What a caller is told: a receipt, a refusal, or what went wrong with its command alone."""


@dataclass(slots=True)
class Waiting:
    """A command and the promise of its reply. A caller that went away leaves a promise that is done."""

    command: Command
    reply: asyncio.Future[Reply]

    def answer(self, reply: Reply) -> None:
        """Keep the promise, if somebody still waits."""
        if not self.reply.done():
            self.reply.set_result(reply)


class WaitingRoom:
    """A bounded queue that gives out batches."""

    def __init__(self, *, commands_max: int) -> None:
        """Open, for so many commands at once."""
        self._commands_max = commands_max
        self._waiting: deque[Waiting] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, commands: Sequence[Command]) -> list[asyncio.Future[Reply]]:
        """Let commands in, all or none of them.

        Raises:
            UnavailableError: It is full (`ledger_busy`) or closing (`ledger_stopping`).
        """
        if self._closed:
            raise UnavailableError("The ledger is stopping.", reason="ledger_stopping")
        if len(self._waiting) + len(commands) > self._commands_max:
            raise UnavailableError(
                "The ledger has more to do than it can take.",
                reason="ledger_busy",
                retry_after_seconds=QUEUE_RETRY_AFTER_SECONDS,
            )
        loop = asyncio.get_running_loop()
        entered = [Waiting(command, loop.create_future()) for command in commands]
        self._waiting.extend(entered)
        self._changed.set()
        return [waiting.reply for waiting in entered]

    async def next_batch(self, *, commands_max: int) -> list[Waiting]:
        """Wait for commands and take what there is, oldest first; nothing once closed and empty."""
        while not self._waiting and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        return [self._waiting.popleft() for _ in range(min(commands_max, len(self._waiting)))]

    def close(self) -> None:
        """Let nobody in any more; those inside are still served."""
        self._closed = True
        self._changed.set()
