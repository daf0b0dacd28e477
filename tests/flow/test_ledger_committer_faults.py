"""Whatever fails, and wherever: nothing lost, nothing twice, and only the one bad command suffers."""

import asyncio

import pytest

from services.ledger.committer.settlement import ATTEMPTS_MAX
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import UnavailableError
from tests.support.faulty_database import AFTER_COMMIT, BEFORE_COMMIT, Fault
from tests.support.ledger_commands import (
    OTHER_SELLER,
    SELLER,
    capture,
    commit,
    deposit,
    open_account,
    refund,
    reserve,
    withdraw,
)
from tests.support.ledger_committer import CommitterWorld, a_committer

UNDER_THE_LOCK, ASKING_FIRST, GUARDED = "under the lock", "ahead, asking first", "ahead, guarded"

STATEMENTS_OF_A_FULL_BATCH = {UNDER_THE_LOCK: 19, ASKING_FIRST: 14, GUARDED: 10}
"""A batch of every kind of change runs each statement; a test below keeps these numbers right."""

WAYS = list(STATEMENTS_OF_A_FULL_BATCH)
"""A committer's first batch is read and planned under the lock, later ones are planned ahead of it.

Those guard themselves, unless an answer is to be remembered that makes no record.
"""


async def begin(world: CommitterWorld, way: str) -> None:
    """Bring the committer to where its next batch goes that way."""
    if way != UNDER_THE_LOCK:
        await world.committer.submit(open_account(OTHER_SELLER))


async def a_full_batch(world: CommitterWorld, way: str) -> list[Receipt]:
    """Run commands that touch every table, among them a refusal that is remembered, unless the batch is guarded."""
    refused = [] if way == GUARDED else [reserve(hold="too much", amount=1_000_000)]
    answers = await world.committer.submit_many(
        [
            deposit(amount=5_000),
            reserve(amount=2_000),
            capture(parts=2_000),
            refund(parts=500),
            reserve(hold="open", amount=100, expires_at=world.in_an_hour()),
            *refused,
        ]
    )
    reasons = [getattr(answer, "reason", "done") for answer in answers]
    assert reasons == ["done"] * 5 + ["insufficient_funds"] * len(refused)
    return [answer for answer in answers if isinstance(answer, Receipt)]


async def assert_it_happened_once(world: CommitterWorld, receipts: list[Receipt]) -> None:
    assert [receipt.replayed for receipt in receipts] == [False] * 5
    assert await world.posted() == 3_500
    assert await world.posted(SELLER) == 1_950 - 488


@pytest.mark.parametrize(
    ("way", "at"),
    [(way, at) for way in WAYS for at in [*range(STATEMENTS_OF_A_FULL_BATCH[way]), BEFORE_COMMIT, AFTER_COMMIT]],
)
async def test_a_batch_whose_connection_is_lost_anywhere_takes_effect_once(engine_url: str, way: str, at: int) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        world.commits.clear()
        world.database.faults = [Fault(at)]
        before = world.database.transactions

        receipts = await a_full_batch(world, way)

        await assert_it_happened_once(world, receipts)
        assert await world.revision() == 1 + (way != UNDER_THE_LOCK)
        assert world.database.transactions - before == 2, "the fault was hit, and one repetition was enough"
        assert len(world.commits) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_full_batch_has_as_many_statements_as_the_faults_above_try(engine_url: str, way: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        before = len(world.database.statements)

        await a_full_batch(world, way)

        statements = world.database.statements[before:]
        assert len(statements) == STATEMENTS_OF_A_FULL_BATCH[way]
        moved = next(number for number, sql in enumerate(statements) if sql.startswith("UPDATE books"))
        asked, written = statements[:moved], statements[moved + 1 :]
        assert all(sql.startswith("SELECT") for sql in asked), "the book's lock comes before anything is written"
        if way == GUARDED:
            assert asked == []
            assert written[0].startswith("UPDATE idempotency_keys"), "the keys are looked for under the lock"
        else:
            assert asked[0].startswith("SELECT revision")
            assert asked[0].endswith("FOR UPDATE")


@pytest.mark.parametrize("way", WAYS)
async def test_several_faults_in_a_row_are_outlived(engine_url: str, way: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        world.database.faults = [Fault(0), Fault(8), Fault(BEFORE_COMMIT), Fault(AFTER_COMMIT), Fault(3)]

        await assert_it_happened_once(world, await a_full_batch(world, way))
        assert await world.revision() == 1 + (way != UNDER_THE_LOCK)


async def test_a_replay_stays_a_replay_when_the_connection_is_lost(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        command = deposit()
        await world.committer.submit(command)
        world.database.faults = [Fault(AFTER_COMMIT)]

        replayed, fresh, twice = await world.committer.submit_many([command, again := deposit(), again])

        assert [getattr(each, "replayed", None) for each in (replayed, fresh, twice)] == [True, False, True]


async def test_a_refusal_is_a_first_answer_when_the_connection_is_lost_under_it(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        too_much = withdraw(amount=1_000_000)
        await world.committer.submit(deposit())
        world.database.faults = [Fault(AFTER_COMMIT)]

        first, again = await world.committer.submit_many([too_much, too_much])

        assert [getattr(each, "reason", None) for each in (first, again)] == ["insufficient_funds"] * 2
        assert [getattr(each, "replayed", None) for each in (first, again)] == [False, True]


async def test_a_database_that_stays_away_is_given_up_and_nothing_happened(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        world.database.unavailable = True
        before = world.database.transactions

        answers = await world.committer.submit_many([deposit(), deposit()])

        assert [type(answer) for answer in answers] == [UnavailableError] * 2
        assert answers[0] is not answers[1]
        assert world.database.transactions - before == ATTEMPTS_MAX
        world.database.unavailable = False
        await world.committer.submit(deposit(amount=7))
        assert await world.posted() == 7


@pytest.mark.parametrize("way", WAYS)
async def test_only_the_command_that_cannot_be_written_fails(engine_url: str, way: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        world.database.poison = lambda row: b"poison" in row
        good = [deposit(amount=1) for _ in range(20)]
        bad = deposit(amount=1_000, idempotency_key="poison")

        answers = await asyncio.gather(
            *[world.committer.submit(command) for command in [*good[:13], bad, *good[13:]]], return_exceptions=True
        )

        assert isinstance(answers[13], ValueError)
        assert all(isinstance(answer, Receipt) for answer in [*answers[:13], *answers[14:]])
        assert await world.posted() == 20


async def test_a_batch_call_names_the_failed_command_and_says_no_more(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        world.database.poison = lambda row: b"poison" in row

        answers = await world.committer.submit_many([deposit(amount=1), deposit(idempotency_key="poison")])

        assert [getattr(answer, "reason", "done") for answer in answers] == ["done", "internal"]
        assert isinstance(answers[1].__cause__, ValueError)  # type: ignore[union-attr]  # asserted by its reason


async def test_nothing_is_answered_before_the_commit_returned(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        world.database.hold_commits_back()
        task = asyncio.create_task(world.committer.submit(deposit()))
        await world.database.reached_commit.wait()

        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        assert not world.commits

        world.database.let_commits_go()
        assert isinstance(await task, Receipt)


async def test_while_one_batch_commits_the_next_gathers(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        world.database.hold_commits_back()
        first = asyncio.create_task(world.committer.submit(deposit(amount=1)))
        await world.database.reached_commit.wait()

        rest = [asyncio.create_task(world.committer.submit(deposit(amount=1))) for _ in range(50)]
        await asyncio.sleep(0)
        world.database.let_commits_go()
        await asyncio.gather(first, *rest)

        assert await world.revision() == 3, "one commit for the first, and two for all that came meanwhile"


async def test_a_stop_in_the_middle_of_a_commit_loses_nothing(engine_url: str) -> None:
    command = deposit(amount=9)
    async with a_committer(engine_url) as world:
        world.database.hold_commits_back()
        task = asyncio.create_task(world.committer.submit(command))
        await world.database.reached_commit.wait()
        world.committer.stop()
        world.database.let_commits_go()

        assert not (await task).replayed

    async with a_committer(engine_url) as world:
        assert (await world.committer.submit(command)).replayed
        assert await world.posted() == 9


async def test_a_stop_while_one_batch_is_under_way_and_the_next_is_planned_loses_neither(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, "planned ahead")
        world.database.hold_commits_back()
        first = asyncio.create_task(world.committer.submit(deposit(amount=1)))
        await world.database.reached_commit.wait()
        second = asyncio.create_task(world.committer.submit(deposit(amount=2)))
        third = asyncio.create_task(world.committer.submit(deposit(amount=4)))
        for _ in range(50):
            await asyncio.sleep(0)

        world.committer.stop()
        world.database.let_commits_go()

        assert [receipt.replayed for receipt in await asyncio.gather(first, second, third)] == [False] * 3
        assert await world.posted() == 7


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_of_refusals_only_writes_their_answers_and_nothing_else(engine_url: str, way: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        before = await world.revision()

        refusals = await world.committer.submit_many([withdraw(OTHER_SELLER), reserve(hold="two"), reserve(hold="3")])

        reasons = [getattr(refusal, "reason", "") for refusal in refusals]
        assert reasons[1:] == ["account_not_open"] * 2
        assert await world.revision() == before + 1
        assert await world.rows("SELECT COUNT(*) FROM idempotency_keys") == [(3,)]


@pytest.mark.parametrize("way", WAYS)
async def test_a_refusal_that_is_not_remembered_writes_nothing(engine_url: str, way: str) -> None:
    async with a_committer(engine_url) as world:
        await begin(world, way)
        before = await world.revision()

        (refusal,) = await world.committer.submit_many([commit()])

        assert getattr(refusal, "reason", "") == "hold_not_found"
        assert await world.revision() == before
        assert await world.rows("SELECT COUNT(*) FROM idempotency_keys") == [(0,)]
