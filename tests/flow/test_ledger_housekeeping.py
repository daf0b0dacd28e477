"""Housekeeping on a real book: holds that run out, answers that shrink and go; on virtual time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from services.ledger.commands.command import Command
from services.ledger.committer.committer import Committer, committing
from services.ledger.committer.lease import BookLease
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import InsufficientFundsError, KeyExpiredError
from services.ledger.housekeeping.answer_retention import AnswerPruning, KeyForgetting, Retention
from services.ledger.housekeeping.chores import Chore, HousekeepingMetrics, keep_house
from services.ledger.housekeeping.hold_expiry import STEP_HOLDS_MAX, HoldExpiry
from services.ledger.ports import Submitter
from services.ledger.queries.book import Book
from services.ledger.queries.verification.events import check_events, check_keys
from services.ledger.queries.verification.findings import Findings
from services.ledger.wiring import MIGRATIONS
from services.runtime.clock import SystemClock
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Row
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import KeyReusedError, RejectedError, TradeFlowError, UnavailableError
from tests.support import ledger_commands as a
from tests.support.clock import VirtualClock
from tests.support.faulty_database import AFTER_COMMIT, BEFORE_COMMIT, Fault, FaultyDatabase
from tests.support.ledger_commands import NOW, an_id
from tests.support.ledger_committer import EAGER
from tests.support.ledger_invariants import assert_money_is_conserved
from tests.support.waiting import eventually

MINUTE = timedelta(minutes=1)

RETENTION = Retention(answers=timedelta(days=30), keys=timedelta(days=365))


@dataclass
class World:
    """A book with a committer on virtual time."""

    committer: Committer
    database: FaultyDatabase
    clock: VirtualClock
    registry: CollectorRegistry
    metrics: HousekeepingMetrics

    @property
    def book(self) -> Book:
        return Book(database=self.database, book_id=1)

    def hold_expiry(self, committer: Submitter | None = None) -> HoldExpiry:
        return HoldExpiry(committer=committer or self.committer, book=self.book, clock=self.clock, metrics=self.metrics)

    def answer_pruning(self) -> AnswerPruning:
        return AnswerPruning(
            committer=self.committer, book=self.book, clock=self.clock, retention=RETENTION, metrics=self.metrics
        )

    def key_forgetting(self) -> KeyForgetting:
        return KeyForgetting(
            committer=self.committer, book=self.book, clock=self.clock, retention=RETENTION, metrics=self.metrics
        )

    async def reserve(self, count: int, *, expires_in: timedelta = MINUTE, prefix: str = "order") -> None:
        """Fund the buyer and reserve a cent for each of so many orders."""
        expires_at = self.clock.now() + expires_in
        await self.committer.submit(a.deposit(amount=count))
        for first in range(0, count, 4_000):
            numbers = range(first, min(first + 4_000, count))
            await self.committer.submit_many(
                [a.reserve(f"{prefix} {number}", 1, expires_at=expires_at) for number in numbers]
            )

    async def holds(self) -> dict[bytes, int]:
        """Count holds by their states."""
        return dict(await self.rows("SELECT state, COUNT(*) FROM holds GROUP BY state"))

    async def count(self, table: str) -> int:
        ((count,),) = await self.rows(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 - the test's own words
        return int(count)

    async def expiries(self) -> int:
        """Count the records that say that a hold ran out."""
        ((count,),) = await self.rows("SELECT COUNT(*) FROM records WHERE kind = $1", RecordKind.EXPIRE.value.encode())
        return int(count)

    async def expired_keys(self) -> int:
        """Count the keys that have lost their answer."""
        ((count,),) = await self.rows("SELECT COUNT(*) FROM idempotency_keys WHERE reason = $1", b"key_expired")
        return int(count)

    async def rows(self, sql: str, *arguments: object) -> list[Row]:
        async with self.database.snapshot() as connection:
            return await connection.fetch(sql, *arguments)

    def sample(self, name: str, chore: str) -> float | None:
        return self.registry.get_sample_value(f"tradeflow_ledger_housekeeping_{name}", {"chore": chore})


def tell_nobody(_rows: int) -> None:
    pass


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    """Begin a book, and check it at the end."""
    real = SqliteDatabase(folder / "ledger.db")
    database = FaultyDatabase(real)
    await migrate(database, MIGRATIONS)
    clock, registry = VirtualClock(NOW), CollectorRegistry()
    lease = BookLease(real, 1, SystemClock())
    async with committing(database, book_id=1, clock=_Hasty(clock), lease=lease, pace=EAGER) as committer:
        yield World(committer, database, clock, registry, HousekeepingMetrics(registry))
    await assert_money_is_conserved(database)
    async with real.snapshot() as connection:
        findings = Findings()
        ((last_event_sequence,),) = await connection.fetch("SELECT last_event_sequence FROM books")
        await check_events(
            connection, findings, tell_nobody, book_id=1, last_event_sequence=last_event_sequence, accounts=1
        )
        await check_keys(connection, findings, tell_nobody, book_id=1)
        assert findings.problems == ()
    await database.close()


class _Hasty:
    """The virtual clock, for which the committer's own waits take no time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.now = clock.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


async def all_of(chore: Chore) -> int:
    """Step until nothing more is due, and tell how many steps it took."""
    steps = 1
    while await chore.step():
        steps += 1
    return steps


# Holds that run out.


async def test_a_hold_that_is_due_is_expired_and_leaves_the_queue(world: World) -> None:
    await world.reserve(2)
    await world.reserve(1, expires_in=2 * MINUTE, prefix="later")
    await world.clock.advance(61)

    await world.hold_expiry().step()

    assert await world.holds() == {b"expired": 2, b"open": 1}
    assert await world.count("hold_expiries") == 1


async def test_a_hold_that_ended_otherwise_leaves_the_queue_and_nothing_else_changes(world: World) -> None:
    await world.reserve(2)
    await world.committer.submit_many([a.commit("order 0"), a.void("order 1")])
    records = await world.count("records")
    await world.clock.advance(61)

    await world.hold_expiry().step()

    assert await world.holds() == {b"committed": 1, b"voided": 1}
    assert (await world.count("hold_expiries"), await world.count("records")) == (0, records)


async def test_steps_are_bounded_and_go_on_until_nothing_is_due(world: World) -> None:
    await world.reserve(STEP_HOLDS_MAX + 100)
    await world.clock.advance(61)

    steps = await all_of(world.hold_expiry())

    assert 3 <= steps <= 8
    assert await world.holds() == {b"expired": STEP_HOLDS_MAX + 100}
    assert await world.count("hold_expiries") == 0


@pytest.mark.ci
async def test_callers_are_served_while_ten_thousand_holds_are_due(world: World) -> None:
    await world.reserve(10_000)
    await world.clock.advance(61)
    waits_seconds: list[float] = []

    async with keeping_house(world, world.hold_expiry()):
        while await world.count("hold_expiries"):
            began_at_seconds = time.monotonic()
            await world.committer.submit(a.deposit(amount=1))
            waits_seconds.append(time.monotonic() - began_at_seconds)

    assert await world.holds() == {b"expired": 10_000}
    assert await world.expiries() == 10_000
    # Beside them every caller waits for two steps at most, and there were many callers.
    assert len(waits_seconds) > 10_000 / STEP_HOLDS_MAX / 2
    assert max(waits_seconds) < 2


@asynccontextmanager
async def keeping_house(
    world: World, chore: Chore, *, is_leader: Callable[[], bool] = lambda: True
) -> AsyncIterator[None]:
    loop = asyncio.create_task(
        keep_house(chore, clock=world.clock, is_leader=is_leader, metrics=world.metrics, pause_seconds=1)
    )
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait({loop})
    if not loop.cancelled():
        loop.result()  # it ended by itself: with an error


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_COMMIT, 0, 5])
async def test_a_step_that_loses_its_connection_expires_each_hold_once(world: World, at: int) -> None:
    await world.reserve(40)
    await world.clock.advance(61)
    world.database.faults = [Fault(at)]

    await all_of(world.hold_expiry())

    assert await world.holds() == {b"expired": 40}
    assert await world.expiries() == 40
    assert await world.count("hold_expiries") == 0


async def test_a_process_that_dies_in_a_step_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.reserve(40)
        await world.clock.advance(61)
        world.database.hold_commits_back()
        step = asyncio.create_task(world.hold_expiry().step())
        await world.database.reached_commit.wait()
        step.cancel()
        world.database.let_commits_go()
        await asyncio.wait({step})

    async with a_world(tmp_path) as world:
        await world.clock.advance(61)
        await all_of(world.hold_expiry())

        assert await world.holds() == {b"expired": 40}
        assert await world.expiries() == 40
        assert await world.count("hold_expiries") == 0


async def test_two_replicas_that_expire_at_once_expire_each_hold_once(world: World) -> None:
    await world.reserve(100)
    await world.clock.advance(61)

    await asyncio.gather(all_of(world.hold_expiry()), all_of(world.hold_expiry()))

    assert await world.holds() == {b"expired": 100}
    assert await world.expiries() == 100


class _Refusing:
    """A committer that can't expire one hold."""

    def __init__(self, committer: Committer, hold_id: UUID) -> None:
        self._committer = committer
        self._hold_id = hold_id

    async def submit(self, command: Command, *, timeout_seconds: float | None = None) -> Receipt:
        return await self._committer.submit(command, timeout_seconds=timeout_seconds)

    async def submit_many(
        self, commands: Any, *, timeout_seconds: float | None = None
    ) -> list[Receipt | TradeFlowError]:
        accepted = [command for command in commands if getattr(command, "hold_id", None) != self._hold_id]
        replies = await self._committer.submit_many(accepted, timeout_seconds=timeout_seconds)
        failure = TradeFlowError("The ledger failed on this command.", reason="internal")
        return [*replies, *[failure] * (len(commands) - len(accepted))]


async def test_a_hold_that_can_not_be_expired_holds_up_nobody_and_is_tried_again(world: World) -> None:
    await world.reserve(60)
    await world.clock.advance(61)
    committer = _Refusing(world.committer, an_id("order 0"))

    await all_of(world.hold_expiry(committer))
    left = await world.count("hold_expiries")
    await all_of(world.hold_expiry())

    assert left == 1
    assert await world.holds() == {b"expired": 60}


async def test_the_loop_goes_on_when_the_committer_is_busy(world: World) -> None:
    await world.reserve(1)
    await world.clock.advance(61)
    world.database.unavailable = True
    async with keeping_house(world, world.hold_expiry()):
        await eventually(lambda: world.clock.sleepers == 1)
        world.database.unavailable = False
        await world.clock.advance(1)

        await eventually(lambda: expired(world))


async def expired(world: World) -> bool:
    return await world.holds() == {b"expired": 1}


async def test_a_replica_that_does_not_lead_reads_and_writes_nothing(world: World) -> None:
    await world.reserve(1)
    await world.clock.advance(61)
    leads = False
    async with keeping_house(world, _Untouchable(), is_leader=lambda: leads):
        for _ in range(5):
            await world.clock.advance(1)

    async with keeping_house(world, world.hold_expiry(), is_leader=lambda: leads):
        leads = True
        await eventually(lambda: world.clock.sleepers == 1)
        await world.clock.advance(1)
        await eventually(lambda: expired(world))


async def test_a_replica_that_lost_the_lead_shows_no_lag_any_more(world: World) -> None:
    await world.reserve(1)
    await world.clock.advance(90)
    expiry = world.hold_expiry()
    leads = True

    async with keeping_house(world, expiry, is_leader=lambda: leads):
        await eventually(lambda: world.clock.sleepers == 1)
        late_seconds = world.sample("lag_seconds", expiry.name)
        leads = False
        await world.clock.advance(1)

        assert late_seconds == 30
        assert world.sample("lag_seconds", expiry.name) is None


class _Untouchable:
    name = "untouchable"

    async def step(self) -> bool:
        raise AssertionError("this replica doesn't lead")


async def test_how_late_holds_are_and_how_many_ended_shows_in_the_metrics(world: World) -> None:
    await world.reserve(3)
    await world.clock.advance(90)
    expiry = world.hold_expiry()

    await expiry.step()
    late = world.sample("lag_seconds", expiry.name)
    await expiry.step()

    assert late == 30
    assert world.sample("lag_seconds", expiry.name) == 0
    assert world.sample("rows_total", expiry.name) == 3


# Answers that shrink and go.


async def refuse(world: World, key: str) -> None:
    with pytest.raises(InsufficientFundsError):
        await world.committer.submit(a.withdraw(amount=10**9, idempotency_key=key))


async def test_an_old_refusal_shrinks_to_its_key_which_stays_recognisable(world: World) -> None:
    await world.committer.submit(a.deposit())
    await refuse(world, "old")
    world.clock._now += timedelta(days=29)
    await refuse(world, "young")
    world.clock._now += timedelta(days=2)

    await all_of(world.answer_pruning())

    with pytest.raises(KeyExpiredError):
        await world.committer.submit(a.withdraw(amount=10**9, idempotency_key="old"))
    with pytest.raises(KeyReusedError):
        await world.committer.submit(a.withdraw(amount=5, idempotency_key="old"))
    await refuse(world, "young")


async def test_what_was_already_true_shrinks_too(world: World) -> None:
    await world.committer.submit_many([a.open_account(), a.open_account(idempotency_key="again")])
    world.clock._now += timedelta(days=31)

    await all_of(world.answer_pruning())

    with pytest.raises(KeyExpiredError):
        await world.committer.submit(a.open_account(idempotency_key="again"))


async def test_an_accepted_key_is_never_pruned(world: World) -> None:
    deposit = a.deposit(amount=7)
    first = await world.committer.submit(deposit)
    world.clock._now += timedelta(days=3_000)

    await all_of(world.answer_pruning())
    await all_of(world.key_forgetting())
    again = await world.committer.submit(deposit)

    assert (again.journal_sequence, again.replayed) == (first.journal_sequence, True)


async def test_after_a_longer_time_the_key_is_as_good_as_new(world: World) -> None:
    await world.committer.submit(a.deposit(amount=10))
    await refuse(world, "key")
    world.clock._now += timedelta(days=31)
    await all_of(world.answer_pruning())
    world.clock._now += timedelta(days=335)

    await all_of(world.key_forgetting())
    receipt = await world.committer.submit(a.withdraw(amount=5, idempotency_key="key"))

    assert not receipt.replayed
    assert await world.count("idempotency_keys") == 0


async def test_what_was_pruned_survives_a_restart(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.committer.submit(a.deposit())
        await refuse(world, "old")
        world.clock._now += timedelta(days=31)
        await all_of(world.answer_pruning())

    async with a_world(tmp_path) as world:
        world.clock._now += timedelta(days=31)
        await all_of(world.answer_pruning())

        with pytest.raises(KeyExpiredError):
            await world.committer.submit(a.withdraw(amount=10**9, idempotency_key="old"))
        assert world.sample("rows_total", "answer_pruning") == 0


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_COMMIT, 0, 1])
async def test_pruning_that_loses_its_connection_prunes_everything_all_the_same(world: World, at: int) -> None:
    await refuse_many(world, 300)
    world.clock._now += timedelta(days=31)
    pruning = world.answer_pruning()
    await pruning.step()
    world.database.faults = [Fault(at)]

    steps = await all_of(pruning)

    assert steps > 1
    assert await world.expired_keys() == 300


async def refuse_many(world: World, count: int) -> None:
    await world.committer.submit(a.deposit())
    answers = await world.committer.submit_many([a.withdraw(amount=10**9) for _ in range(count)])
    assert all(isinstance(answer, RejectedError) for answer in answers)


async def test_pruning_and_forgetting_again_changes_nothing(world: World) -> None:
    await refuse_many(world, 40)
    world.clock._now += timedelta(days=31)
    await all_of(world.answer_pruning())
    pruned = await world.rows("SELECT * FROM idempotency_keys ORDER BY idempotency_key")
    await all_of(world.answer_pruning())

    assert await world.rows("SELECT * FROM idempotency_keys ORDER BY idempotency_key") == pruned

    world.clock._now += timedelta(days=365)
    await asyncio.gather(all_of(world.key_forgetting()), all_of(world.key_forgetting()))

    assert await world.count("idempotency_keys") == 0


async def test_how_late_answers_are_shows_in_the_metrics(world: World) -> None:
    await refuse_many(world, 2)
    world.clock._now += timedelta(days=30, hours=1)
    pruning = world.answer_pruning()

    await pruning.step()
    late = world.sample("lag_seconds", pruning.name)
    await pruning.step()

    assert late == pytest.approx(3600, abs=1)
    assert world.sample("lag_seconds", pruning.name) == 0
    assert world.sample("rows_total", pruning.name) == 2


async def test_pruning_that_finds_no_room_waits(world: World) -> None:
    await refuse_many(world, 1)
    world.clock._now += timedelta(days=31)
    world.database.unavailable = True
    with pytest.raises(UnavailableError):
        await world.answer_pruning().step()
    world.database.unavailable = False

    await all_of(world.answer_pruning())

    assert await world.expired_keys() == 1
