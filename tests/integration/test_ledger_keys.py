"""Idempotency keys on real MySQL: compared byte by byte, one effect each, one answer for ever."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import InsufficientFundsError
from services.runtime.database.port import Database
from services.runtime.errors import KeyReusedError
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.support.ledger_commands import deposit, reserve
from tests.support.ledger_committer import EAGER

pytestmark = pytest.mark.part("mysql")

ALIKE = ["abc", "ABC", "abc ", "abc\0", " abc", "äbc", "a\u0308bc", "abć", "'abc", '"abc', "abc\\", "a%c", "\U0001f600"]
"""Keys that collations, trimming or quoting would take for each other."""


@pytest.fixture
async def replicas(database: Database, durable_mysql_url: str) -> AsyncIterator[list[Committer]]:
    async with AsyncExitStack() as stack:
        databases = [database, await stack.enter_async_context(ledger_database(durable_mysql_url))]
        yield [await stack.enter_async_context(committing(database, book_id=1)) for database in databases]


async def posted(database: Database) -> int:
    """Tell what all wallets have."""
    async with database.snapshot() as connection:
        rows = await connection.fetch(
            "SELECT SUM(b.credits_posted - b.debits_posted) FROM accounts a JOIN balances b "
            "ON b.book_id = a.book_id AND b.account_id = a.account_id WHERE a.wallet_id IS NOT NULL"
        )
    return int(rows[0][0])


async def test_keys_that_look_alike_are_different_keys(database: Database, replicas: list[Committer]) -> None:
    commands = [deposit(amount=1, idempotency_key=key) for key in ALIKE]
    together = await replicas[0].submit_many(commands)
    again = [await replicas[1].submit(command) for command in commands]

    sequences = {key: _receipt(answer).journal_sequence for key, answer in zip(ALIKE, together, strict=True)}
    assert len(set(sequences.values())) == len(ALIKE)
    assert [receipt.journal_sequence for receipt in again] == list(sequences.values())
    assert await posted(database) == len(ALIKE)
    await assert_book_keeps(database, sequences)


async def test_a_key_twice_in_a_batch_takes_effect_once(database: Database, replicas: list[Committer]) -> None:
    once = deposit(amount=5, idempotency_key="once")

    first, second, other = await replicas[0].submit_many([once, once, deposit(amount=6, idempotency_key="once")])

    assert _receipt(first).journal_sequence == _receipt(second).journal_sequence
    assert (_receipt(first).replayed, _receipt(second).replayed) == (False, True)
    assert isinstance(other, KeyReusedError)
    assert await posted(database) == 5


async def test_a_key_at_two_replicas_at_once_takes_effect_once(database: Database, replicas: list[Committer]) -> None:
    commands = [deposit(amount=1, idempotency_key=f"key {number}") for number in range(100)]
    asked = [(command, replica) for command in commands for replica in [*replicas, *replicas]]

    receipts = await asyncio.gather(*(replica.submit(command) for command, replica in asked))

    by_key: dict[str, set[int]] = {}
    for (command, _), receipt in zip(asked, receipts, strict=True):
        by_key.setdefault(command.idempotency_key, set()).add(receipt.journal_sequence)
    assert all(len(sequences) == 1 for sequences in by_key.values())
    assert Counter(receipt.replayed for receipt in receipts) == {False: 100, True: 300}
    assert await posted(database) == 100
    await assert_book_keeps(database, {key: sequence for key, (sequence,) in by_key.items()})


async def test_other_content_under_a_key_is_refused_by_every_replica(replicas: list[Committer]) -> None:
    await replicas[0].submit(deposit(amount=5, idempotency_key="once"))

    for replica in replicas:
        with pytest.raises(KeyReusedError):
            await replica.submit(deposit(amount=6, idempotency_key="once"))
        with pytest.raises(KeyReusedError):
            await replica.submit(reserve(amount=5, idempotency_key="once"))


async def test_services_have_keys_of_their_own(database: Database, replicas: list[Committer]) -> None:
    for service in ("orders", "Orders", "orders "):
        await replicas[0].submit(deposit(amount=1, idempotency_key="once", service=service))

    assert await posted(database) == 3


async def test_a_refusal_stays_a_refusal_when_there_is_money(database: Database, replicas: list[Committer]) -> None:
    await replicas[0].submit(deposit(amount=1))
    too_much = reserve(amount=1_000, idempotency_key="too much")
    with pytest.raises(InsufficientFundsError) as first:
        await replicas[0].submit(too_much)
    await replicas[0].submit(deposit(amount=5_000))

    for replica in replicas:
        with pytest.raises(InsufficientFundsError) as again:
            await replica.submit(too_much)
        assert again.value.message == first.value.message
        assert again.value.details == first.value.details

    await assert_book_keeps(database, {"too much": "insufficient_funds"})


async def test_a_key_is_known_to_a_committer_that_begins_later(database: Database) -> None:
    commands = [deposit(amount=1, idempotency_key=f"key {number}") for number in range(50)]
    async with committing(database, book_id=1) as committer:
        first = [_receipt(answer).journal_sequence for answer in await committer.submit_many(commands)]

    async with committing(database, book_id=1, pace=EAGER) as committer:
        again = [_receipt(answer) for answer in await committer.submit_many(commands)]

    assert [receipt.journal_sequence for receipt in again] == first
    assert all(receipt.replayed for receipt in again)


def _receipt(answer: object) -> Receipt:
    assert isinstance(answer, Receipt), answer
    return answer
