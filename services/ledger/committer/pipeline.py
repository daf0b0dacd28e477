"""The pipeline: while one batch is at the server, the next is gathered and planned on what the first will leave.

    gather (waiting_room) → plan (plan, on the cache) → lock, compare, write, commit (flight) → answer
                                        any miss or error: redo in order under the lock (settlement)

The next batch is sent only after the one before it committed, so that at most one is ever under way, and what it was
planned on is compared under the lock. Nobody is answered before the COMMIT of his batch returned.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import structlog

from services.ledger.committer.flight import BookWriter, PlanMissedError
from services.ledger.committer.metrics import CommitterMetrics
from services.ledger.committer.plan import Plan
from services.ledger.committer.settlement import Settlement
from services.ledger.committer.waiting_room import Batch, Reply, WaitingRoom
from services.ledger.outbound.named_rows import NamedRows
from services.runtime.database.port import DuplicateKeyError
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

AHEAD_COMMANDS_MIN = 64
"""How many commands must wait before a batch is planned while another is under way: for fewer, planning takes less than
a millisecond or two, and the batch had better gather until the other is through. So it should while fewer wait than
half of what is under way: callers that were answered a moment ago are coming back."""

COLD_COMMANDS_MAX = 64
"""Up to how many commands go straight under the lock when nothing is under way and rows must be read for them: lock and
rows are one round trip then, instead of two one after the other, and so few are decided before anyone waits for it."""

HALVES_COMMANDS_MIN = 256
"""From how many on, when nothing is under way, half of those that wait go first, and the rest is planned meanwhile:
both are through sooner than all at once, and callers that come back then come in turns."""

SENDING_SECONDS = 0.002
"""How long the event loop has for a batch's packet before the next plan takes it: a megabyte goes out in several turns,
and the server begins only when it has all of it."""

CAREFUL_BATCHES = 4
"""How many batches go under the lock, all their keys read, after a start, after each miss, and after each key that was
found so: a miss costs two batches, and where one repeats old keys, or another committer is at work, more follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a batch is planned ahead, and when it is read and planned under the lock."""

    ahead_commands_min: int = AHEAD_COMMANDS_MIN
    cold_commands_max: int = COLD_COMMANDS_MAX
    careful_batches: int = CAREFUL_BATCHES


@dataclass(slots=True)
class _Flight:
    """A planned batch under way."""

    batch: Batch
    plan: Plan
    task: asyncio.Task[None]
    sent: asyncio.Event
    began_at_seconds: float
    sent_at_seconds: float = 0.0


class Pipeline:
    """Takes batches out of the waiting room and answers them, until the room is closed and empty."""

    def __init__(
        self,
        room: WaitingRoom,
        writer: BookWriter,
        *,
        batch_commands_max: int,
        is_leader: Callable[[], bool],
        on_commit: Callable[[], None],
        metrics: CommitterMetrics,
        pace: Pace | None = None,
    ) -> None:
        """Stand ready; `run` does the work."""
        self._room = room
        self._writer = writer
        self._cache = writer.planner.cache
        self._batch_commands_max = batch_commands_max
        self._is_leader = is_leader
        self._on_commit = on_commit
        self._metrics = metrics
        self._flight: _Flight | None = None
        self._open: list[Batch] = []
        self._pace = pace or Pace()
        self._careful_batches = self._pace.careful_batches

    async def run(self) -> None:
        """Work until the room is closed, and through what was let in before that."""
        try:
            while True:
                await self._room.until(self._has_work)
                if self._flight is not None and self._flight.task.done():
                    # Its callers first: they bring what the next batch is made of.
                    await self._land()
                elif len(self._room):
                    await self._begin(self._room.take(commands_max=self._next_commands_max()))
                else:
                    await self._land()
                    return
        finally:
            await self._abandon()

    def _has_work(self) -> bool:
        flight = self._flight
        if self._room.closed or (flight is not None and flight.task.done()):
            return True
        needed = 1 if flight is None else max(self._pace.ahead_commands_min, len(flight.batch) // 2)
        return len(self._room) >= needed

    def _next_commands_max(self) -> int:
        waiting = len(self._room)
        if self._flight is not None or waiting < HALVES_COMMANDS_MIN or not self._plans_ahead():
            return self._batch_commands_max
        return min(self._batch_commands_max, (waiting + 1) // 2)

    def _plans_ahead(self) -> bool:
        return not self._careful_batches and self._is_leader() and self._cache.head is not None

    async def _begin(self, batch: Batch) -> None:
        """Plan a batch while the one before it is under way; then let that one land, and send this one after it."""
        if not batch.commands:
            return
        began_at_seconds = perf_counter()
        self._open.append(batch)
        self._metrics.batch_commands.observe(len(batch))
        try:
            plan = await self._plan_ahead(batch)
            answer_landed = await self._landed()
            if plan is not None and self._cache.head is plan.after:
                flight = self._launch(batch, plan, began_at_seconds)
                answer_landed()
                # The next plan keeps the event loop busy: let this one get to where only the server works on it.
                await flight.sent.wait()
                flight.sent_at_seconds = perf_counter()
                self._cache.trim()
            else:
                answer_landed()
                await self._settle(batch, began_at_seconds)
        except Exception as error:  # the loop outlives its own mistakes; nobody waits for ever
            logger.exception("ledger_committer_failed", commands=len(batch))
            self._cache.drop()
            under_way = None if self._flight is None else self._flight.batch
            for each in [each for each in self._open if each is not under_way]:
                self._answer(each, [error] * len(each), began_at_seconds)

    async def _plan_ahead(self, batch: Batch) -> Plan | None:
        """Plan on the cache; None when the batch must be read and planned under the lock."""
        cache = self._cache
        if not self._plans_ahead() or not cache.allows_planning(batch.commands):
            return None
        try:
            await self._let_packet_go()
            unknown = cache.missing(batch.commands)
            if unknown and self._flight is None and len(batch) <= self._pace.cold_commands_max:
                return None
            if unknown and not await self._prefetch(batch, unknown):
                return None
            return await self._writer.planner.plan(batch.commands, self._writer.clock.now())
        except UnavailableError as error:
            logger.warning("ledger_prefetch_failed", reason=error.reason)
        except Exception:  # the same commands are tried one by one under the lock: that finds out which it was
            logger.exception("ledger_plan_failed", commands=len(batch))
        cache.drop()
        return None

    async def _let_packet_go(self) -> None:
        if self._flight is not None:
            await asyncio.sleep(self._flight.sent_at_seconds + SENDING_SECONDS - perf_counter())

    async def _prefetch(self, batch: Batch, unknown: NamedRows) -> bool:
        """Read what the cache lacks without any lock, if need be while another batch is under way.

        That one touches nothing that the cache lacks, so that a snapshot from before its commit is as good as one from
        after it, as long as nobody else committed.
        """
        flight = self._flight
        heads = (self._cache.require_head(),) if flight is None else (flight.plan.assumed, flight.plan.after)
        async with self._writer.database.snapshot() as connection:
            return await self._cache.fill_from_snapshot(connection, batch.commands, unknown, heads)

    def _launch(self, batch: Batch, plan: Plan, began_at_seconds: float) -> _Flight:
        sent = asyncio.Event()
        task = asyncio.create_task(self._writer.send(plan, sent.set), name="ledger-flight")
        flight = self._flight = _Flight(batch, plan, task, sent, began_at_seconds)

        def landed(_: asyncio.Task[None]) -> None:
            sent.set()
            self._room.wake()

        task.add_done_callback(landed)
        return flight

    async def _landed(self) -> Callable[[], None]:
        """Wait for the flight's end; returns what answers its callers, to be called once the next one is on its way."""
        flight, self._flight = self._flight, None
        if flight is None:
            return _nothing
        try:
            await flight.task
        except Exception as error:  # noqa: BLE001 - settled in full below, whatever it was
            self._note_miss(flight, error)
            settlement = self._new_settlement()
            if isinstance(error, UnavailableError):
                settlement.note_drafts(flight.plan)
            replies = await settlement.settle(flight.batch.commands)
            wrote = settlement.wrote
        else:
            self._metrics.ahead.labels("kept").inc()
            replies, wrote = list[Reply](flight.plan.decision.answers), flight.plan.writes_something
        if wrote:
            self._on_commit()
        return lambda: self._answer(flight.batch, replies, flight.began_at_seconds)

    async def _land(self) -> None:
        (await self._landed())()

    def _note_miss(self, flight: _Flight, error: Exception) -> None:
        self._cache.drop()
        self._careful_batches = self._pace.careful_batches
        self._metrics.ahead.labels("missed").inc()
        if isinstance(error, PlanMissedError | DuplicateKeyError | UnavailableError):
            logger.info("ledger_plan_missed", commands=len(flight.batch), error=str(error))
        else:
            logger.warning("ledger_flight_failed", commands=len(flight.batch), exc_info=error)
        self._metrics.retries.inc()

    async def _settle(self, batch: Batch, began_at_seconds: float) -> None:
        settlement = self._new_settlement()
        replies = await settlement.settle(batch.commands)
        careful_batches = self._pace.careful_batches if settlement.found_keys else self._careful_batches - 1
        self._careful_batches = max(0, careful_batches)
        if settlement.wrote:
            self._on_commit()
        self._answer(batch, replies, began_at_seconds)
        self._cache.trim()

    def _new_settlement(self) -> Settlement:
        return Settlement(self._writer, on_retry=self._metrics.retries.inc, trust_cache=self._is_leader())

    def _answer(self, batch: Batch, replies: list[Reply], began_at_seconds: float) -> None:
        self._open.remove(batch)
        batch.answer(replies)
        self._metrics.batch_seconds.observe(perf_counter() - began_at_seconds)
        self._metrics.count_replies(replies)

    async def _abandon(self) -> None:
        """Answer all that is left after a cancellation: what became of a batch under way is found by its keys."""
        self._room.close()
        if self._flight is not None:
            self._flight.task.cancel()
            await asyncio.wait({self._flight.task})
        while len(self._room):
            self._open.append(self._room.take(commands_max=len(self._room)))
        for batch in self._open:
            error = UnavailableError("The ledger is stopping.", reason="ledger_stopping")
            batch.answer([error] * len(batch))
        self._open.clear()


def _nothing() -> None:
    """Answer nobody."""
