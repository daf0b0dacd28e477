"""The committer on a real database: many callers, repeated keys, callers that leave, starts and stops."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.committer.waiting_room import BATCH_LEGS_MAX
from services.ledger.domain.hold import HoldState
from services.ledger.domain.receipt import Receipt
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import KeyReusedError, RefusedError, TradeFlowError, UnavailableError
from tests.support.ledger_commands import (
    BUYER,
    OTHER_SELLER,
    SELLER,
    an_id,
    capture,
    commit,
    deposit,
    refund,
    reserve,
    void,
)
from tests.support.ledger_committer import EAGER, a_committer
from tests.support.ledger_invariants import assert_money_is_conserved

PEOPLE = [an_id(f"person {number}") for number in range(5)]


async def test_two_hundred_callers_on_a_few_accounts_are_served_in_a_few_commits(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await asyncio.gather(*[world.committer.submit(deposit(person, 1_000)) for person in PEOPLE])
        asked = [reserve(f"hold {n}", 100, PEOPLE[n % 5]) for n in range(200)]

        answers = await asyncio.gather(*map(world.committer.submit, asked), return_exceptions=True)

        assert Counter(getattr(answer, "reason", "held") for answer in answers) == {
            "held": 50,
            "insufficient_funds": 150,
        }
        assert await world.revision() < 20
        sequences = [answer.journal_sequence for answer in answers if isinstance(answer, Receipt)]
        assert len(set(sequences)) == 50


async def test_whole_sales_at_once_leave_the_book_whole(tmp_path: Path) -> None:
    async with a_committer(tmp_path, batch_commands_max=16) as world:
        await world.committer.submit_many([deposit(person, 10_000) for person in PEOPLE])

        async def sale(number: int) -> None:
            hold, buyer = f"hold {number}", PEOPLE[number % 5]
            submit = world.committer.submit
            await submit(reserve(hold, 300, buyer, expires_at=datetime.now(UTC) + timedelta(hours=1)))
            await submit(commit(hold, buyer))
            await submit(capture(hold, {SELLER: 150, PEOPLE[(number + 1) % 5]: 51}, buyer))
            await submit(refund(hold, {SELLER: 50}, buyer))
            await submit(void(hold, buyer))

        await asyncio.gather(*map(sale, range(40)))

        assert await world.posted(SELLER) == 40 * (147 - 49)


async def test_a_batch_of_one_call_is_decided_in_its_order(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        answers = await world.committer.submit_many(
            [reserve(), deposit(amount=1_000), reserve(hold="two"), capture("two"), refund("two"), void("two")]
        )

        reasons = [getattr(answer, "reason", "done") for answer in answers]
        assert reasons == ["account_not_open", "done", "done", "done", "done", "hold_captured"]
        assert await world.posted() == 1_000


async def test_a_refund_finds_sellers_that_only_the_book_knows(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(), reserve(), capture(parts={SELLER: 600, OTHER_SELLER: 400})])

        receipt = await world.committer.submit(refund(parts={SELLER: 600, OTHER_SELLER: 400}))

        assert receipt.hold is not None
        assert receipt.hold.refunded_minor == 1_000
        assert await world.posted() == 10_000


async def test_the_same_key_takes_effect_once_within_a_batch_and_across_batches(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        command = deposit(amount=100, idempotency_key="k")

        at_once = await asyncio.gather(*[world.committer.submit(command) for _ in range(20)])
        later = await world.committer.submit(command)

        assert [receipt.replayed for receipt in [*at_once, later]] == [False] + [True] * 20
        assert {(receipt.journal_sequence, receipt.recorded_at) for receipt in [*at_once, later]} == {
            (at_once[0].journal_sequence, at_once[0].recorded_at)
        }
        assert await world.posted() == 100
        with pytest.raises(KeyReusedError):
            await world.committer.submit(deposit(amount=101, idempotency_key="k"))


async def test_keys_that_look_alike_are_different_keys(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        for key in ("abc", "ABC", "abc ", "àbc", "0", "00"):
            assert not (await world.committer.submit(deposit(amount=1, idempotency_key=key))).replayed
        for key in ("abc", "ABC", "abc ", "àbc", "0", "00"):
            assert (await world.committer.submit(deposit(amount=1, idempotency_key=key))).replayed

        assert await world.posted() == 6


async def test_answers_survive_a_restart(tmp_path: Path) -> None:
    paid, refused = deposit(amount=100), reserve(amount=101)
    async with a_committer(tmp_path) as world:
        receipt = await world.committer.submit(paid)
        with pytest.raises(RefusedError) as first:
            await world.committer.submit(refused)
        await world.committer.submit(deposit(amount=100))

    async with a_committer(tmp_path) as world:
        again = await world.committer.submit(paid)
        with pytest.raises(RefusedError) as second:
            await world.committer.submit(refused)

    assert (again.journal_sequence, again.recorded_at) == (receipt.journal_sequence, receipt.recorded_at)
    assert type(second.value) is type(first.value)
    assert (second.value.message, second.value.details) == (first.value.message, first.value.details)


async def test_callers_that_leave_before_their_batch_begins_take_their_commands_back(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        leaving = [asyncio.create_task(world.committer.submit(deposit(amount=1))) for _ in range(10)]
        staying = [asyncio.create_task(world.committer.submit(deposit(amount=100))) for _ in range(10)]
        await asyncio.sleep(0)

        for task in leaving:
            task.cancel()

        assert all(isinstance(receipt, Receipt) for receipt in await asyncio.gather(*staying))
        assert await world.posted() == 1_000
        assert all(task.cancelled() for task in leaving)


async def test_callers_that_leave_a_batch_under_way_disturb_neither_it_nor_their_own_command(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        world.database.hold_commits_back()
        leaving = [asyncio.create_task(world.committer.submit(deposit(amount=1))) for _ in range(10)]
        staying = asyncio.create_task(world.committer.submit_many([deposit(amount=100), deposit(amount=100)]))
        await world.database.reached_commit.wait()

        for task in leaving:
            task.cancel()
        world.database.let_commits_go()

        assert [type(reply) for reply in await staying] == [Receipt, Receipt]
        assert await world.posted() == 210


async def test_a_command_whose_deadline_passed_in_the_queue_is_not_run(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        world.database.hold_commits_back()
        first = asyncio.create_task(world.committer.submit(deposit(amount=1)))
        await world.database.reached_commit.wait()
        late = asyncio.create_task(world.committer.submit(command := deposit(amount=10), timeout_seconds=0.01))
        patient = asyncio.create_task(world.committer.submit_many([deposit(amount=100)], timeout_seconds=30))
        await asyncio.sleep(0.02)

        world.database.let_commits_go()

        await asyncio.gather(first, patient)
        with pytest.raises(UnavailableError) as caught:
            await late
        assert caught.value.reason == "deadline_exceeded"
        assert await world.posted() == 101
        assert not (await world.committer.submit(command)).replayed


async def test_an_overdue_hold_expires_through_the_same_door(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many(
            [deposit(), reserve(expires_at=datetime.now(UTC) + timedelta(milliseconds=50))]
        )
        assert await world.rows("SELECT COUNT(*) FROM hold_expiries") == [(1,)]
        await asyncio.sleep(0.06)

        receipt = await world.committer.submit(ExpireHold(hold_id=an_id("order")))

        assert receipt.hold is not None
        assert receipt.hold.state is HoldState.EXPIRED


async def test_a_full_queue_lets_in_all_of_a_call_or_nothing(tmp_path: Path) -> None:
    async with a_committer(tmp_path, queue_commands_max=5) as world:
        inside = asyncio.create_task(world.committer.submit(deposit()))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError) as caught:
            await world.committer.submit_many([deposit() for _ in range(5)])

        assert (caught.value.reason, caught.value.retry_after_seconds > 0) == ("ledger_busy", True)
        await inside
        assert len(await world.committer.submit_many([deposit() for _ in range(5)])) == 5
        assert await world.posted() == 60_000


async def test_a_call_larger_than_the_queue_is_let_in_when_nothing_waits(tmp_path: Path) -> None:
    async with a_committer(tmp_path, queue_commands_max=5, batch_commands_max=4) as world:
        commands = [deposit() for _ in range(12)]
        inside = asyncio.create_task(world.committer.submit_many(commands))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="more to do"):
            await world.committer.submit(deposit())

        assert len(await inside) == 12
        assert await world.posted() == 120_000


async def test_a_call_larger_than_a_batch_gets_its_answers_in_order(tmp_path: Path) -> None:
    async with a_committer(tmp_path, batch_commands_max=3) as world:
        commands = [deposit(amount=number + 1) for number in range(10)]

        replies = await world.committer.submit_many(commands)

        sequences = [reply.journal_sequence for reply in replies if isinstance(reply, Receipt)]
        assert len(sequences) == 10
        assert sequences == sorted(sequences)
        assert await world.committer.submit_many([]) == []


async def test_commands_of_many_legs_go_in_smaller_batches_in_their_order(tmp_path: Path) -> None:
    sellers = [an_id(f"seller {number}") for number in range(100)]
    orders = [f"order {number}" for number in range(BATCH_LEGS_MAX // len(sellers) + 5)]
    async with a_committer(tmp_path, pace=replace(EAGER, halves_commands_min=1_000)) as world:
        await world.committer.submit_many([deposit(amount=100_000), *[reserve(order, 100) for order in orders]])
        before = await world.revision()

        answers = await world.committer.submit_many(
            [capture(order, dict.fromkeys(sellers, 1), fee=0) for order in orders]
        )

        holds = [answer.hold.hold_id for answer in answers if isinstance(answer, Receipt) and answer.hold is not None]
        assert holds == [an_id(order) for order in orders]
        assert await world.revision() == before + 2
        assert await world.posted(sellers[0]) == len(orders)


async def test_stopping_serves_those_inside_and_refuses_those_outside(tmp_path: Path) -> None:
    async with a_committer(tmp_path, batch_commands_max=2) as world:
        inside = [asyncio.create_task(world.committer.submit(deposit(amount=1))) for _ in range(7)]
        await asyncio.sleep(0)

        world.committer.stop()

        assert len(await asyncio.gather(*inside)) == 7
        with pytest.raises(UnavailableError) as caught:
            await world.committer.submit(deposit())
        assert caught.value.reason == "ledger_stopping"


async def test_two_committers_on_one_book_keep_one_chain(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as one, a_committer(tmp_path) as other:
        command = deposit(amount=5, idempotency_key="both")

        await asyncio.gather(
            *[each.committer.submit(deposit(amount=1)) for each in (one, other) for _ in range(20)],
            *[each.committer.submit(command) for each in (one, other) for _ in range(3)],
        )

        assert await one.posted() == 45


async def test_the_relay_is_woken_by_commits_and_by_nothing_else(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        command = deposit()
        await world.committer.submit(command)
        assert len(world.commits) == 1

        await world.committer.submit(command)
        with pytest.raises(TradeFlowError):
            await world.committer.submit(commit(hold="unknown"))

        assert len(world.commits) == 1
        assert await world.revision() == 1


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDATE records SET metadata = X'00' WHERE sequence = 2", "record 2 was changed"),
        ("UPDATE postings SET amount = amount + 1 WHERE sequence = 3 AND leg = 1", "record 3 sums to 1"),
        ("UPDATE postings SET salt = X'00' WHERE sequence = 3 AND leg = 1", "a posting of record 3 was changed"),
        ("UPDATE balances SET credits_posted = credits_posted + 1 WHERE account_id = 2", "differs from its postings"),
        ("UPDATE balances SET debits_pending = 1 WHERE account_id = 2", "1 pending, its holds 1000"),
        ("UPDATE holds SET captured = 1", "differs from its captures"),
        ("DELETE FROM records WHERE sequence = 4", "the head is not the last record"),
        ("UPDATE outbox SET first_sequence = 2", "the stream has a gap"),
        ("UPDATE balances SET event_sequence = 9 WHERE account_id = 2", "the wallets' sequences differ"),
        ("UPDATE records SET idempotency_key = X'00' WHERE sequence = 3", "names record 3 wrongly"),
    ],
)
async def test_a_changed_byte_is_found(tmp_path: Path, sql: str, finding: str) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(BUYER), reserve()])
    database = SqliteDatabase(tmp_path / "ledger.db")

    async with database.transaction() as connection:
        await connection.execute(sql)

    with pytest.raises(AssertionError, match=finding):
        await assert_money_is_conserved(database)
    await database.close()
