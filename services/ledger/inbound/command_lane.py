"""One stream's commands under way: bounded, in order, gathered into few submissions.

    read → waiting → at most `SUBMISSIONS_MAX` at the committer → done → written

What the committer is given at once is answered at once, so commands that come while others are at the committer go
together. Whoever reads waits for room, which counts everything between being read and being written: a client that
doesn't read its outcomes is not read from either.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog

from services.ledger.inbound.grpc_batch import COMMANDS_OF_BATCH_MAX
from services.ledger.inbound.outcome_messages import Answered
from services.runtime.errors import TradeFlowError
from tradeflow.ledger.v1.commands_pb2 import Command

logger = structlog.get_logger(__name__)

COMMANDS_UNDER_WAY_MAX = 1024
"""As the contract says: of one stream, from being read to their outcome being written."""

SUBMISSIONS_MAX = 4
"""One is being committed, one is being decided, and the others wait for them."""

NumberedOutcome = tuple[int, Answered]
"""The caller's number of a command, and what became of it."""

Submit = Callable[[Sequence[Command]], Awaitable[Sequence[Answered]]]
"""Runs commands in their order and answers when all are durable or refused."""


class CommandLane:
    """Takes numbered commands and gives numbered outcomes, in the order of their becoming durable."""

    def __init__(self, submit: Submit) -> None:
        """Run commands by `submit`."""
        self._submit = submit
        self._waiting: list[tuple[int, Command]] = []
        self._done: list[NumberedOutcome] = []
        self._submissions: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._is_scheduled = False
        self._is_closed = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()

    async def room_for(self, count: int) -> None:
        """Wait until so many commands more may be under way; with none under way there is always room."""
        while self._under_way and self._under_way + count > COMMANDS_UNDER_WAY_MAX:
            self._has_room.clear()
            await self._has_room.wait()

    def enter(self, commands: Sequence[tuple[int, Command]]) -> None:
        """Take commands, which are run whatever becomes of the stream."""
        self._under_way += len(commands)
        self._waiting += commands
        self._schedule()

    def close(self) -> None:
        """Take no more; the outcomes end once those of all that was taken are out."""
        self._is_closed = True
        self._changed.set()

    async def outcomes(self) -> AsyncIterator[list[NumberedOutcome]]:
        """Give what is done, as much as there is at once."""
        while self._done or self._under_way or not self._is_closed:
            if not self._done:
                self._changed.clear()
                await self._changed.wait()
                continue
            done, self._done = self._done, []
            yield done
            # The next is asked for once these are written.
            self._under_way -= len(done)
            self._has_room.set()

    def _schedule(self) -> None:
        """Submit in the next turn of the event loop, so that what is read in this one goes together."""
        if not self._is_scheduled and self._waiting and len(self._submissions) < SUBMISSIONS_MAX:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._is_scheduled = False
        together, self._waiting = self._waiting[:COMMANDS_OF_BATCH_MAX], self._waiting[COMMANDS_OF_BATCH_MAX:]
        submission = asyncio.create_task(self._run(together), name="streamed-commands")
        self._submissions.add(submission)
        submission.add_done_callback(self._ended)
        self._schedule()

    async def _run(self, together: Sequence[tuple[int, Command]]) -> None:
        answers: Sequence[Answered]
        try:
            answers = await self._submit([command for _, command in together])
        except TradeFlowError as error:
            answers = [error] * len(together)
        except Exception:  # the edge of the stream's work: its callers are told no more than that
            logger.exception("streamed_commands_failed", commands=len(together))
            answers = [TradeFlowError("The ledger failed on this command.", reason="internal")] * len(together)
        self._done += zip([number for number, _ in together], answers, strict=True)
        self._changed.set()

    def _ended(self, submission: asyncio.Task[None]) -> None:
        self._submissions.discard(submission)
        self._schedule()
