"""The committer: takes commands from all doors and answers each once it is durable, or refused.

    gather (waiting_room) → plan (plan, cache) → lock, compare, write, commit (flight) → answer
                            order and overlap: pipeline     what goes wrong: settlement     who leads: lease

While one batch commits, the next gathers and is planned: the busier it is, the larger the batches and the cheaper each
command.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from services.ledger.commands.command import Command
from services.ledger.committer.cache import BookCache
from services.ledger.committer.flight import BookWriter
from services.ledger.committer.lease import BookLease
from services.ledger.committer.metrics import CommitterMetrics
from services.ledger.committer.pipeline import Pace, Pipeline
from services.ledger.committer.plan import Planner
from services.ledger.committer.waiting_room import Reply, WaitingRoom
from services.ledger.domain.receipt import Receipt
from services.ledger.outbound.book_head import begin_book
from services.runtime.background import Loop
from services.runtime.clock import Clock, SystemClock
from services.runtime.database.port import Database
from services.runtime.errors import TradeFlowError

BATCH_COMMANDS_MAX = 1024
"""The most commands of one commit: past it rates hardly rise, and everyone in the batch waits longer."""

QUEUE_COMMANDS_MAX = 8192
"""The most commands that wait: a second or so of work, so that a wait past callers' deadlines is refused at once."""

DRAIN_SECONDS_MAX = 5.0
"""How long stopping waits for the commands that were let in; the rest is told to come back."""


class Committer:
    """The one writer of a book in this process. Made by `committing`."""

    def __init__(self, room: WaitingRoom, pipeline: Pipeline, lease: BookLease) -> None:
        """Stand ready; `run` does the work."""
        self._room = room
        self._pipeline = pipeline
        self._lease = lease

    @property
    def leader(self) -> bool:
        """Tell whether this is the book's leading committer now, which keeps house too."""
        return self._lease.held

    @property
    def stands_by(self) -> bool:
        """Tell whether another process leads: commands are committed sooner there, and here they are in its way."""
        return self._lease.stands_by

    def while_leading(self, loop: Loop) -> Loop:
        """Make a loop that runs only while this is the leading committer: housekeeping, the notary."""
        return self._lease.while_held(loop)

    async def submit(self, command: Command, *, timeout_seconds: float | None = None) -> Receipt:
        """Run one command. A caller that stops waiting takes it back, unless its batch has begun.

        Args:
            command: What to do.
            timeout_seconds: After it, a command that hasn't begun is not run (`deadline_exceeded`).

        Raises:
            RejectedError: It was refused and changed nothing.
            UnavailableError: Try again with the same key.
        """
        (reply,) = await self._room.enter([command], timeout_seconds)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def submit_many(
        self, commands: Sequence[Command], *, timeout_seconds: float | None = None
    ) -> list[Receipt | TradeFlowError]:
        """Run commands in their order; one refusal doesn't disturb its neighbours. Otherwise as `submit`.

        Raises:
            UnavailableError: There was no room for all of them, and none was let in.
        """
        return [
            reply if isinstance(reply, Receipt) else _error_of(reply)
            for reply in await self._room.enter(commands, timeout_seconds)
        ]

    async def run(self) -> None:
        """Work until `stop`, and through what was let in before it."""
        await self._pipeline.run()

    def stop(self) -> None:
        """Let no command in any more; `run` ends after those inside."""
        self._room.close()


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
    lease: BookLease | None = None,
    pace: Pace | None = None,
    cache: BookCache | None = None,
) -> AsyncIterator[Committer]:
    """Begin the book if need be, and commit while the body runs.

    Leaving refuses new commands and works through the waiting ones, for a few seconds.

    Args:
        database: Migrated.
        book_id: Which book.
        clock: Where `now` comes from; the journal's time never goes back whatever it says.
        batch_commands_max: The most commands of one commit.
        queue_commands_max: The most commands that wait; past it callers are refused with a hint. A call of more is let
            in when nothing waits.
        on_commit: Called after each commit that wrote: it wakes the outbox's relay. It must not block.
        registry: Where metrics go.
        lease: Who leads; one of the default length, on the machine's clock, if it isn't given.
        pace: When batches are planned ahead; the default suits production.
        cache: What is kept of the book; of the default size if it isn't given.
    """
    async with database.transaction() as connection:
        await begin_book(connection, book_id)
    lease = lease or BookLease(database, book_id, SystemClock())
    metrics = CommitterMetrics(registry or CollectorRegistry())
    room = WaitingRoom(commands_max=queue_commands_max)
    metrics.waiting.set_function(lambda: len(room))
    metrics.leader.set_function(lambda: lease.held)
    pipeline = Pipeline(
        room,
        BookWriter(
            database=database,
            book_id=book_id,
            clock=clock or SystemClock(),
            planner=Planner(database=database, cache=cache or BookCache(book_id), random_bytes=os.urandom),
        ),
        batch_commands_max=batch_commands_max,
        is_leader=lambda: lease.held,
        on_commit=on_commit,
        metrics=metrics,
        pace=pace,
    )
    committer = Committer(room, pipeline, lease)
    async with lease.kept():
        task = asyncio.create_task(committer.run(), name=f"committer:{book_id}")
        try:
            yield committer
        finally:
            committer.stop()
            await asyncio.wait({task}, timeout=DRAIN_SECONDS_MAX)
            task.cancel()
            await asyncio.wait({task})


def _error_of(reply: Reply) -> TradeFlowError:
    """Give a batch's caller a value for each command; what is a bug of ours says no more than that."""
    if isinstance(reply, TradeFlowError):
        return reply
    failure = TradeFlowError("The ledger failed on this command.", reason="internal")
    failure.__cause__ = reply if isinstance(reply, Exception) else None
    return failure
