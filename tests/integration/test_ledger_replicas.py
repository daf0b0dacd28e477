"""Two ledgers on one book: whoever is asked, whatever breaks, the book is one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest

from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import InsufficientFundsError
from services.runtime.database.port import Database
from tests.integration.callers import Callers, Submits
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.integration.sessions import sessions_of
from tests.support.ledger_commands import an_id, deposit, reserve

pytestmark = pytest.mark.part("mysql")

KILL_SECONDS = 0.15
"""A connection dies so often."""


@asynccontextmanager
async def two_committers(url: str) -> AsyncIterator[list[Committer]]:
    """Run two, each with connections of its own."""
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(ledger_database(url)) for _ in range(2)]
        yield [await stack.enter_async_context(committing(database, book_id=1)) for database in databases]


async def kill_connections(url: str, chance: Random) -> int:
    """Kill connections of both committers, one after the other, until it is cancelled; return how many."""
    killed = 0
    with sessions_of(url) as sessions:
        try:
            while True:
                await asyncio.sleep(KILL_SECONDS)
                if there := sessions.others():
                    sessions.kill(chance.choice(there))
                    killed += 1
        except asyncio.CancelledError:
            return killed


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.soak)])
async def test_two_replicas_keep_one_book_while_callers_repeat_and_leave_and_connections_die(
    durable_mysql_url: str, seconds: int
) -> None:
    async with ledger_database(durable_mysql_url) as database, two_committers(durable_mysql_url) as committers:
        callers = Callers(committers, "caller", cancelled_share=0.05, repeated_share=0.1)
        killing = asyncio.create_task(kill_connections(durable_mysql_url, Random(7)))  # noqa: S311 - repeatable
        await callers.run(seconds)
        killing.cancel()
        killed = await killing

        assert killed > seconds
        assert callers.cancelled > 10
        assert callers.repeated > 10
        assert len(callers.answers) > 10 * seconds
        assert await assert_book_keeps(database, callers.told()) == callers.accepted()


async def test_of_two_reserves_at_two_replicas_one_gets_the_money(durable_mysql_url: str) -> None:
    wallets = [an_id(f"wallet {number}") for number in range(50)]
    async with ledger_database(durable_mysql_url) as database, two_committers(durable_mysql_url) as committers:
        await committers[0].submit_many([deposit(wallet, 1_000) for wallet in wallets])
        answers = await asyncio.gather(
            *(
                committer.submit(reserve(f"{wallet} {number}", 800, wallet))
                for wallet in wallets
                for number, committer in enumerate(committers)
            ),
            return_exceptions=True,
        )
        await assert_book_keeps(database, {})

    pairs = list(zip(answers[::2], answers[1::2], strict=True))
    assert all({type(first), type(second)} == {Receipt, InsufficientFundsError} for first, second in pairs), pairs


async def test_a_hot_account_with_more_callers_than_connections_keeps_going(durable_mysql_url: str) -> None:
    async with ledger_database(durable_mysql_url, "pool_max=2&acquire_timeout_seconds=5") as database:
        async with committing(database, book_id=1) as committer:
            receipts = await asyncio.gather(*(_deposit_often(committer, caller) for caller in range(200)))

        keyed = {key: sequence for told in receipts for key, sequence in told.items()}
        assert len(keyed) == 200 * 10
        assert await assert_book_keeps(database, keyed) == 200 * 10


async def _deposit_often(committer: Submits, caller: int) -> dict[str, int | str]:
    told: dict[str, int | str] = {}
    for number in range(10):
        key = f"{caller}/{number}"
        told[key] = (await committer.submit(deposit(amount=1, idempotency_key=key))).journal_sequence
    return told


async def test_callers_that_leave_in_the_middle_leave_no_lock(durable_mysql_url: str, database: Database) -> None:
    async with two_committers(durable_mysql_url) as committers:
        await committers[0].submit(deposit(amount=1))
        for _ in range(30):
            leaving = [asyncio.ensure_future(committers[0].submit(deposit(amount=1))) for _ in range(20)]
            await asyncio.sleep(0.002)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)

            async with asyncio.timeout(2):
                await committers[1].submit(deposit(amount=1))
        async with asyncio.timeout(2), database.transaction() as connection:
            await connection.fetch("SELECT revision FROM books WHERE book_id = 1 FOR UPDATE")
    await assert_book_keeps(database, {})
