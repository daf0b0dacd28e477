"""The pipeline: while one batch is at the server, the next is gathered and planned on what the first will leave.

    gather (waiting_room) → plan (plan, on the cache) → lock, compare, write, commit (flight) → answer
                                        any miss or error: redo in order under the lock (settlement)

Two batches are under way at most: the next is sent once the server has the book's lock for the one before it, so that
it waits for that lock there and goes on at once when the other commits. What it was planned on is compared under the
lock. Nobody is answered before the COMMIT of his batch returned.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

import structlog

from services.ledger.committer.flight import BookWriter, PlanMissedError
from services.ledger.committer.linger import Linger, LingerSettings
from services.ledger.committer.metrics import CommitterMetrics
from services.ledger.committer.plan import Plan
from services.ledger.committer.settlement import Settlement
from services.ledger.committer.waiting_room import Batch, Reply, WaitingRoom
from services.ledger.outbound.named_rows import NamedRows
from services.runtime.database.port import DuplicateKeyError
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

AHEAD_COMMANDS_MIN = 16
"""How many commands must wait before a batch is planned while another is under way: for fewer, planning takes less than
a millisecond, and the batch had better gather until the other is through. So it should while fewer wait than half of
what is under way: callers that were answered a moment ago are coming back."""

FLIGHTS_MAX = 2
"""Batches under way at once: one is written, one waits for its lock at the server, which is then never idle. A third
would gather less and be through no sooner."""

COLD_COMMANDS_MAX = 8
"""Up to how many commands go straight under the lock when nothing is under way and rows must be read for them: lock and
rows are one round trip then, instead of two one after the other. More are through sooner if others can follow them."""

HALVES_COMMANDS_MIN = 32
"""From how many on, when nothing is under way, half of those that wait go first, and the rest is planned meanwhile:
both are through sooner than all at once, and callers that come back then come in turns."""

CAREFUL_BATCHES = 4
"""How many batches go under the lock, all their keys read, after a start, after each miss, and after each key that was
found so: a miss costs two batches, and where one repeats old keys, or another committer is at work, more follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a batch begins and is planned ahead, how many are under way, and when one is planned under the lock."""

    ahead_commands_min: int = AHEAD_COMMANDS_MIN
    halves_commands_min: int = HALVES_COMMANDS_MIN
    flights_max: int = FLIGHTS_MAX
    cold_commands_max: int = COLD_COMMANDS_MAX
    linger: LingerSettings = field(default_factory=LingerSettings)
    careful_batches: int = CAREFUL_BATCHES


@dataclass(slots=True)
class _Flight:
    """A planned batch under way."""

    batch: Batch
    plan: Plan
    began_at_seconds: float
    task: asyncio.Task[None]
    locked: bool = False
    """Whether the server has the book's lock for it: the packet has left this process, and who comes later waits."""


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
        self._flights: deque[_Flight] = deque()
        self._open: list[Batch] = []
        self._pace = pace or Pace()
        self._linger = Linger(room, self._pace.linger)
        self._careful_batches = self._pace.careful_batches

    async def run(self) -> None:
        """Work until the room is closed, and through what was let in before that."""
        try:
            while True:
                await self._room.until(self._has_work)
                if self._first_is_through() or (self._flights and not len(self._room)):
                    # Its callers first: they bring what the next batch is made of.
                    (await self._landed())()
                elif len(self._room):
                    if not self._flights:
                        await self._linger.for_company(commands_max=self._batch_commands_max)
                    await self._begin(self._room.take(commands_max=self._next_commands_max()))
                else:
                    return
        finally:
            await self._abandon()

    def _has_work(self) -> bool:
        if self._room.closed or self._first_is_through():
            return True
        if not self._flights:
            return len(self._room) > 0
        newest = self._flights[-1]
        if len(self._flights) > 1 or not newest.locked:
            return False
        return len(self._room) >= max(self._pace.ahead_commands_min, len(newest.batch) // 2)

    def _first_is_through(self) -> bool:
        return bool(self._flights) and self._flights[0].task.done()

    def _next_commands_max(self) -> int:
        waiting = len(self._room)
        if self._flights or waiting < self._pace.halves_commands_min or not self._plans_ahead():
            return self._batch_commands_max
        return min(self._batch_commands_max, (waiting + 1) // 2)

    def _plans_ahead(self) -> bool:
        return not self._careful_batches and self._is_leader() and self._cache.head is not None

    async def _begin(self, batch: Batch) -> None:
        """Plan a batch while the one before it is under way, and send it after that one; or settle it in its turn."""
        if not batch.commands:
            return
        began_at_seconds = perf_counter()
        self._open.append(batch)
        self._metrics.batch_commands.observe(len(batch))
        self._linger.note_batch(len(batch))
        try:
            plan = await self._plan_ahead(batch)
            answers: list[Callable[[], None]] = []
            while self._flights and (plan is None or self._first_is_through() or not self._may_follow()):
                answers.append(await self._landed())
            if plan is not None and self._cache.head is plan.after:
                self._launch(batch, plan, began_at_seconds)
                _call_all(answers)
                self._cache.trim()
            else:
                _call_all(answers)
                await self._settle(batch, began_at_seconds)
        except Exception as error:  # the loop outlives its own mistakes; nobody waits for ever
            logger.exception("ledger_committer_failed", commands=len(batch))
            self._cache.drop()
            under_way = [flight.batch for flight in self._flights]
            for each in [each for each in self._open if each not in under_way]:
                self._answer(each, [error] * len(each), began_at_seconds)

    def _may_follow(self) -> bool:
        return len(self._flights) < self._pace.flights_max and self._flights[-1].locked

    async def _plan_ahead(self, batch: Batch) -> Plan | None:
        """Plan on the cache; None when the batch must be read and planned under the lock."""
        cache = self._cache
        if not self._plans_ahead() or not cache.allows_planning(batch.commands):
            return None
        try:
            unknown, new_holds = cache.missing(batch.commands)
            if unknown and not self._flights and len(batch) <= self._pace.cold_commands_max:
                return None
            if unknown and not await self._prefetch(batch, unknown):
                return None
            return await self._writer.planner.plan(batch.commands, self._writer.clock.now(), new_holds)
        except UnavailableError as error:
            logger.warning("ledger_prefetch_failed", reason=error.reason)
        except Exception:  # the same commands are tried one by one under the lock: that finds out which it was
            logger.exception("ledger_plan_failed", commands=len(batch))
        cache.drop()
        return None

    async def _prefetch(self, batch: Batch, unknown: NamedRows) -> bool:
        """Read what the cache lacks without any lock, if need be while other batches are under way.

        Those touch nothing that the cache lacks, so that a snapshot from before their commits is as good as one from
        after them, as long as nobody else committed.
        """
        heads = [self._cache.require_head(), *[flight.plan.assumed for flight in self._flights]]
        async with self._writer.database.snapshot() as connection:
            return await self._cache.fill_from_snapshot(connection, batch.commands, unknown, heads)

    def _launch(self, batch: Batch, plan: Plan, began_at_seconds: float) -> None:
        def note_lock() -> None:
            flight.locked = True
            self._room.wake()

        task = asyncio.create_task(self._writer.send(plan, note_lock), name="ledger-flight")
        flight = _Flight(batch, plan, began_at_seconds, task)
        self._flights.append(flight)
        task.add_done_callback(lambda _: self._room.wake())

    async def _landed(self) -> Callable[[], None]:
        """Wait for the first flight's end; returns what answers its callers, for when the next one is on its way."""
        flight = self._flights.popleft()
        try:
            await flight.task
        except Exception as error:  # noqa: BLE001 - settled in full below, whatever it was
            self._note_miss(flight, error)
            # What follows it misses too, unless this one was committed after all. It must have ended before anything is
            # written anew, since it takes the book's lock whenever it comes to its turn.
            if self._flights:
                await asyncio.wait([following.task for following in self._flights])
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
        for flight in self._flights:
            flight.task.cancel()
        if self._flights:
            await asyncio.wait([flight.task for flight in self._flights])
        while len(self._room):
            self._open.append(self._room.take(commands_max=len(self._room)))
        for batch in self._open:
            error = UnavailableError("The ledger is stopping.", reason="ledger_stopping")
            batch.answer([error] * len(batch))
        self._open.clear()


def _call_all(answers: Iterable[Callable[[], None]]) -> None:
    for answer in answers:
        answer()
