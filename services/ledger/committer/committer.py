"""The committer: takes commands from all doors and answers each once it is durable, or refused.

    gather (waiting_room) → lock → read → decide → write → commit (batch) → answer

While one batch commits, the next gathers: the busier it is, the larger the batches and the cheaper each command.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry

from services.ledger.commands.command import Command
from services.ledger.committer.batch import BookWriter
from services.ledger.committer.metrics import CommitterMetrics
from services.ledger.committer.settlement import Settlement
from services.ledger.committer.waiting_room import Reply, Waiting, WaitingRoom
from services.ledger.domain.receipt import Receipt
from services.ledger.outbound.book_head import begin_book
from services.runtime.clock import Clock, SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import RejectedError, TradeFlowError, UnavailableError

logger = structlog.get_logger(__name__)

BATCH_COMMANDS_MAX = 1024
"""The most commands of one commit: past it rates hardly rise, and everyone in the batch waits longer."""

QUEUE_COMMANDS_MAX = 8192
"""The most commands that wait: a second or so of work, so that a wait past callers' deadlines is refused at once."""

DRAIN_SECONDS_MAX = 5.0
"""How long stopping waits for the commands that were let in; the rest is told to come back."""


class Committer:
    """The one writer of a book in this process. Made by `committing`."""

    def __init__(
        self,
        writer: BookWriter,
        *,
        batch_commands_max: int = BATCH_COMMANDS_MAX,
        queue_commands_max: int = QUEUE_COMMANDS_MAX,
        on_commit: Callable[[], None] = lambda: None,
        metrics: CommitterMetrics | None = None,
    ) -> None:
        """Stand ready; `run` does the work."""
        self._writer = writer
        self._batch_commands_max = batch_commands_max
        self._room = WaitingRoom(commands_max=queue_commands_max)
        self._on_commit = on_commit
        self._metrics = metrics or CommitterMetrics(CollectorRegistry())
        self._metrics.waiting.set_function(lambda: len(self._room))

    async def submit(self, command: Command) -> Receipt:
        """Run one command; it goes on when the caller stops waiting.

        Raises:
            RejectedError: It was refused and changed nothing.
            UnavailableError: Try again with the same key.
        """
        (reply,) = self._room.enter([command])
        answer = await reply
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit_many(self, commands: Sequence[Command]) -> list[Receipt | TradeFlowError]:
        """Run commands in their order; one refusal doesn't disturb its neighbours.

        Raises:
            UnavailableError: There was no room for all of them, and none was let in.
        """
        return [_error_of(await reply) for reply in self._room.enter(commands)]

    async def run(self) -> None:
        """Work until `stop`, and through what was let in before it."""
        batch: list[Waiting] = []
        try:
            while batch := await self._room.next_batch(commands_max=self._batch_commands_max):
                try:
                    await self._settle(batch)
                except Exception as error:  # the loop outlives its own mistakes; nobody waits for ever
                    logger.exception("ledger_committer_failed", commands=len(batch))
                    _answer(batch, [error] * len(batch))
        finally:
            # Cancelled in the middle: what became of the batch is found by its keys.
            self._room.close()
            rest = await self._room.next_batch(commands_max=len(self._room))
            for waiting in [*batch, *rest]:
                waiting.answer(UnavailableError("The ledger is stopping.", reason="ledger_stopping"))

    def stop(self) -> None:
        """Let no command in any more; `run` ends after those inside."""
        self._room.close()

    async def _settle(self, batch: list[Waiting]) -> None:
        self._metrics.batch_commands.observe(len(batch))
        with self._metrics.batch_seconds.time():
            settlement = Settlement(self._writer, on_retry=self._metrics.retries.inc)
            replies = await settlement.settle([waiting.command for waiting in batch])
            _answer(batch, replies)
        if settlement.wrote:
            self._on_commit()
        for outcome, count in Counter(map(_outcome_of, replies)).items():
            self._metrics.commands.labels(outcome).inc(count)


@asynccontextmanager
async def committing(
    database: Database,
    *,
    book_id: int,
    clock: Clock | None = None,
    batch_commands_max: int = BATCH_COMMANDS_MAX,
    queue_commands_max: int = QUEUE_COMMANDS_MAX,
    on_commit: Callable[[], None] = lambda: None,
    registry: CollectorRegistry | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> AsyncIterator[Committer]:
    """Begin the book if need be, and commit while the body runs.

    Leaving refuses new commands and works through the waiting ones, for a few seconds.

    Args:
        database: Migrated.
        book_id: Which book.
        clock: Where `now` comes from; the ledger's time never goes back whatever it says.
        batch_commands_max: The most commands of one commit.
        queue_commands_max: The most commands that wait; past it callers are refused with a hint.
        on_commit: Called after each commit that wrote: it wakes the outbox's relay. It must not block.
        registry: Where metrics go.
        random_bytes: Where salts and record ids come from.
    """
    async with database.transaction() as connection:
        await begin_book(connection, book_id)
    writer = BookWriter(database=database, book_id=book_id, clock=clock or SystemClock(), random_bytes=random_bytes)
    committer = Committer(
        writer,
        batch_commands_max=batch_commands_max,
        queue_commands_max=queue_commands_max,
        on_commit=on_commit,
        metrics=CommitterMetrics(registry) if registry is not None else None,
    )
    task = asyncio.create_task(committer.run(), name=f"committer:{book_id}")
    try:
        yield committer
    finally:
        committer.stop()
        await asyncio.wait({task}, timeout=DRAIN_SECONDS_MAX)
        task.cancel()
        await asyncio.wait({task})


def _answer(batch: Sequence[Waiting], replies: Sequence[Reply]) -> None:
    for waiting, reply in zip(batch, replies, strict=True):
        waiting.answer(reply)


def _error_of(reply: Reply) -> Receipt | TradeFlowError:
    """Give a batch's caller a value for each command; what is a bug of ours says no more than that."""
    if isinstance(reply, Receipt | TradeFlowError):
        return reply
    failure = TradeFlowError("The ledger failed on this command.", reason="internal")
    failure.__cause__ = reply
    return failure


def _outcome_of(reply: Reply) -> str:
    if isinstance(reply, Receipt):
        return "replayed" if reply.replayed else "accepted"
    return "refused" if isinstance(reply, RejectedError) else "failed"
