"""Planning ahead: what the next batch does while one is at the server, and what becomes of it when that one fails."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.committer.cache import BATCHES_KEPT, BookCache
from services.ledger.committer.pipeline import Pace
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import HoldExistsError, HoldVoidedError, InsufficientFundsError
from tests.support.faulty_database import AFTER_COMMIT, BEFORE_COMMIT, Fault
from tests.support.ledger_commands import (
    BUYER,
    SELLER,
    STRANGER,
    an_id,
    capture,
    commit,
    deposit,
    open_account,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)
from tests.support.ledger_committer import EAGER, CommitterWorld, a_committer
from tests.support.waiting import eventually


async def one_under_way(world: CommitterWorld) -> asyncio.Task[Receipt]:
    """Bring a batch to its COMMIT and keep it there."""
    await world.committer.submit_many([deposit(amount=1_000), deposit(SELLER, 1_000)])
    world.database.hold_commits_back()
    task = asyncio.create_task(world.committer.submit(deposit(amount=1)))
    await world.database.reached_commit.wait()
    return task


async def settled_turns() -> None:
    """Let everything run that doesn't wait for the database."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_the_next_batch_waits_at_the_server_while_one_commits_and_the_one_after_it_here(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        first = await one_under_way(world)
        begun, statements = world.database.transactions, len(world.database.statements)
        second = asyncio.create_task(world.committer.submit_many([deposit(SELLER, 3), withdraw(amount=5)]))
        await eventually(lambda: world.database.transactions == begun + 1)
        prepared = world.database.prepared
        third = asyncio.create_task(world.committer.submit(deposit(amount=7)))
        await settled_turns()
        assert len(world.database.statements) == statements, "it waits for the one before it"
        assert world.database.prepared == prepared, "two are under way at most"

        world.database.let_commits_go()
        await asyncio.gather(first, second, third)

        assert not any(sql.startswith("SELECT") for sql in world.database.statements[statements:])
        assert (world.ahead("kept"), world.ahead("missed")) == (3, 0)


async def test_a_batch_waits_for_the_lock_only_behind_one_that_has_it(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1_000))
        with world.database.nobody_told_of_locks():
            world.database.hold_commits_back()
            first = asyncio.create_task(world.committer.submit(withdraw(amount=1)))
            await world.database.reached_commit.wait()
            begun = world.database.transactions
            second = asyncio.create_task(world.committer.submit(withdraw(amount=2)))
            await settled_turns()
            assert world.database.transactions == begun, "it might be granted the lock before the first"

            world.database.let_commits_go()
            await asyncio.gather(first, second)

        assert (world.ahead("kept"), world.ahead("missed")) == (2, 0)


async def test_a_batch_whose_commit_is_not_heard_of_lets_the_one_behind_it_stand(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1_000))
        world.database.faults = [Fault(AFTER_COMMIT)]
        world.database.hold_commits_back()
        first = asyncio.create_task(world.committer.submit(withdraw(amount=700)))
        await world.database.reached_commit.wait()
        begun = world.database.transactions
        second = asyncio.create_task(world.committer.submit(withdraw(amount=300)))
        await eventually(lambda: world.database.transactions == begun + 1)

        world.database.let_commits_go()

        assert [receipt.replayed for receipt in await asyncio.gather(first, second)] == [False, False]
        assert await world.posted() == 0
        assert (world.ahead("kept"), world.ahead("missed")) == (1, 1)


async def test_a_key_that_was_refused_in_an_earlier_life_is_found_by_the_server(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        refused = withdraw(amount=50)
        _, refusal = await world.committer.submit_many([open_account(), refused])
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1_000))
        before = len(world.database.statements)

        answer, receipt = await world.committer.submit_many([refused, withdraw(amount=1)])

        assert isinstance(refusal, InsufficientFundsError)
        assert str(answer) == str(refusal)
        assert isinstance(receipt, Receipt)
        assert world.database.statements[before].startswith("UPDATE books"), "it was sent without a question"
        assert world.ahead("missed") == 1
        assert await world.posted() == 999


async def test_what_is_planned_on_a_batch_that_fails_is_planned_again_in_order(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(amount=1_000), deposit(SELLER, 1)])
        world.database.faults = [Fault(BEFORE_COMMIT)]
        world.database.hold_commits_back()
        first = asyncio.create_task(world.committer.submit(withdraw(amount=700)))
        await world.database.reached_commit.wait()
        rest = [asyncio.create_task(world.committer.submit_many([withdraw(amount=300), withdraw(amount=300)]))]
        await settled_turns()

        world.database.let_commits_go()

        receipts = [await first, *(await rest[0])]
        assert [getattr(receipt, "reason", "done") for receipt in receipts] == ["done", "done", "insufficient_funds"]
        assert await world.posted() == 0
        assert world.ahead("missed") == 2, "the second was on its way already"


async def test_a_batch_that_names_something_new_is_read_beside_the_one_under_way(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(STRANGER, 50), reserve("old", 20, STRANGER)])
    async with a_committer(tmp_path) as world:
        first = await one_under_way(world)
        later = asyncio.create_task(
            world.committer.submit_many(
                [withdraw(STRANGER, 10), capture("old", 20, STRANGER), reserve("new", 5, STRANGER)]
            )
        )
        await settled_turns()

        world.database.let_commits_go()
        await first

        assert [type(answer) for answer in await later] == [Receipt] * 3
        assert await world.posted(STRANGER) == 20
        assert (world.ahead("kept"), world.ahead("missed")) == (2, 0)


async def test_every_kind_of_command_can_follow_one_under_way(tmp_path: Path) -> None:
    async with a_committer(tmp_path, batch_commands_max=1) as world:
        await world.committer.submit(deposit(amount=100_000))
        given_back = await world.committer.submit(deposit(amount=7))
        commands: list[Command] = [
            open_account(STRANGER),
            deposit(SELLER, 10),
            transfer(),
            set_limit(SELLER, 500),
            withdraw(SELLER, 1_200),
            reserve("kept", 2_000, expires_at=world.in_an_hour()),
            commit("kept"),
            capture("kept", {SELLER: 1_500, STRANGER: 500}),
            refund("kept", {SELLER: 300}),
            reserve("gone", 10),
            void("gone"),
            ExpireHold(hold_id=an_id("gone")),
            reverse(given_back.journal_sequence),
            transfer(),
            reverse(999),
        ]

        answers = await world.committer.submit_many(commands)

        reasons = [getattr(answer, "reason", "done") for answer in answers]
        assert reasons == [*["done"] * 14, "record_not_found"]
        assert world.ahead("missed") == 0
        assert world.ahead("kept") >= 10


async def test_a_committer_that_is_overtaken_misses_and_decides_again(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as one, a_committer(tmp_path, lease_row=2) as other:
        for world in (one, other):
            await world.committer.submit(deposit(amount=500))
        answers = [await world.committer.submit_many([withdraw(amount=400)]) for world in (one, other, one)]

        reasons = [getattr(answer, "reason", "done") for (answer,) in answers]
        assert reasons == ["done", "done", "insufficient_funds"]
        assert one.ahead("missed") + other.ahead("missed") > 0
        assert await one.posted() == 200


async def test_a_cache_that_forgets_all_the_time_changes_no_answer(tmp_path: Path) -> None:
    people = [an_id(f"person {number}") for number in range(30)]
    async with a_committer(tmp_path, batch_commands_max=2, cache=BookCache(1, names_max=4, keys_max=4)) as world:
        await world.committer.submit_many([deposit(person, 100) for person in people])

        withdrawals = [[withdraw(person, 40) for person in people] for _ in range(3)]
        answers = [await world.committer.submit_many(some) for some in withdrawals]

        assert {getattr(answer, "reason", "done") for answer in answers[0] + answers[1]} == {"done"}
        assert {getattr(answer, "reason", "done") for answer in answers[2]} == {"insufficient_funds"}
        assert [await world.posted(person) for person in people] == [20] * 30


@pytest.mark.parametrize("pace", [EAGER, Pace(careful_batches=0)], ids=["planned ahead", "read under the lock"])
async def test_the_cache_is_bounded_by_what_the_newest_batches_name(tmp_path: Path, pace: Pace) -> None:
    cache = BookCache(1, names_max=10, keys_max=10)
    async with a_committer(tmp_path, batch_commands_max=1, cache=cache, pace=pace) as world:
        await world.committer.submit(deposit(BUYER))
        for number in range(60):
            await world.committer.submit(deposit(an_id(f"person {number}"), 1))

        assert len(cache.state.wallets) <= 10 + BATCHES_KEPT
        assert len(cache.state.accounts) == len(cache.tails) == len(cache.state.wallets) + 1
        assert len(cache.state.keys) <= 11


async def test_many_that_wait_go_in_two_halves_so_that_one_is_planned_while_the_other_commits(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1))
        before = await world.revision()

        await world.committer.submit_many([deposit(amount=1) for _ in range(400)])

        assert await world.revision() == before + 2
        assert await world.posted() == 401


async def test_callers_that_come_back_take_turns(tmp_path: Path) -> None:
    async with a_committer(tmp_path, pace=replace(EAGER, ahead_commands_min=64)) as world:
        await world.committer.submit(deposit(amount=1))

        async def caller() -> None:
            for _ in range(6):
                await world.committer.submit(deposit(amount=1))

        await asyncio.gather(*[caller() for _ in range(300)])

        assert await world.posted() == 1_801
        assert 10 <= await world.revision() <= 20, "about two batches for each time that all came"


async def test_few_commands_on_unknown_rows_lock_and_read_in_one_transaction(tmp_path: Path) -> None:
    pace = replace(EAGER, cold_commands_max=8)
    async with a_committer(tmp_path, pace=pace, cache=BookCache(1, names_max=1)) as world:
        await world.committer.submit_many([deposit(an_id(f"wallet {number}")) for number in range(40)])
        begun, read = world.database.transactions, world.database.snapshots

        await world.committer.submit(deposit(an_id("another")))

        assert (world.database.transactions - begun, world.database.snapshots - read) == (1, 0)
        assert world.ahead("kept") == 0

        await world.committer.submit_many([deposit(an_id(f"more {number}")) for number in range(9)])

        assert (world.database.transactions - begun, world.database.snapshots - read) == (2, 1)
        assert world.ahead("kept") == 1


async def test_a_new_hold_is_made_without_a_question(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1_000))
        statements, snapshots = len(world.database.statements), world.database.snapshots

        await world.committer.submit(reserve("new", 100))

        sent = world.database.statements[statements:]
        assert sent[0].startswith("UPDATE books")
        assert not any(sql.startswith("SELECT") for sql in sent)
        assert world.database.snapshots == snapshots


@pytest.mark.parametrize("funds_minor", [1_000, 50])
async def test_a_hold_of_an_earlier_life_is_found_whether_or_not_a_second_one_could_be_made(
    tmp_path: Path, funds_minor: int
) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(amount=50), reserve("old", 20), void("never came", STRANGER)])
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(STRANGER, funds_minor))

        again, voided, fresh = await world.committer.submit_many(
            [reserve("old", 60, STRANGER), reserve("never came", 60, STRANGER), deposit(STRANGER, 1)]
        )

        assert isinstance(again, HoldExistsError)
        assert isinstance(voided, HoldVoidedError)
        assert isinstance(fresh, Receipt)
        assert world.ahead("missed") == 1
        assert await world.posted(STRANGER) == funds_minor + 1


async def test_a_hold_that_is_assumed_new_can_be_used_in_the_same_batch(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit(deposit(amount=1_000))

        answers = await world.committer.submit_many(
            [reserve("one", 400), capture("one", 400), reserve("two", 2_000), void("two"), reserve("three", 100)]
        )

        reasons = [getattr(answer, "reason", "done") for answer in answers]
        assert reasons == ["done", "done", "insufficient_funds", "done", "done"]
        assert (world.ahead("kept"), world.ahead("missed")) == (1, 0)
