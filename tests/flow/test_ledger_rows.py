"""What a batch writes is what the next one reads: rows and values are the same book."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.decision import Decision, decide
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.domain.account import AccountType, system_account_code, wallet_account_code
from services.ledger.domain.journal import Head
from services.ledger.domain.proof import Sealer
from services.ledger.migrations import m0001_initial
from services.ledger.outbound.book_head import begin_book, lock_head, move_head
from services.ledger.outbound.book_reading import (
    LoadedBook,
    book_at,
    lock_and_read_rows,
    read_rows,
    rows_named_further,
)
from services.ledger.outbound.book_writing import write_decision
from services.ledger.outbound.named_rows import _NAMERS, rows_named_by
from services.money import Money
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Database, DuplicateKeyError
from services.runtime.database.sqlite import SqliteDatabase
from tests.support import ledger_commands as a
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import BUYER, NOW, OTHER_SELLER, SELLER, an_id

BOOK = 1
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = SqliteDatabase(tmp_path / "ledger.db")
    async with database.transaction() as connection:
        for statement in m0001_initial.STATEMENTS:
            await connection.execute(statement)
        await begin_book(connection, BOOK)
    yield database
    await database.close()


async def lock_and_read(
    connection: Connection, commands: Sequence[Command], *, read_keys: bool = True
) -> tuple[Head, LoadedBook]:
    """Read all that commands name, in the one or two round trips that it takes."""
    named = rows_named_by(commands)
    head, rows = await lock_and_read_rows(connection, BOOK, named, read_keys=read_keys)
    book = book_at(head)
    book.take_in(named, rows)
    further = rows_named_further(commands, rows)
    if further:
        book.take_in(further, await read_rows(connection, BOOK, further, read_keys=False))
    return head, book


async def commit(database: Database, commands: Sequence[Command], *, read_keys: bool = True) -> Decision:
    """Read, decide and write one batch."""
    async with database.transaction() as connection:
        head, book = await lock_and_read(connection, commands, read_keys=read_keys)
        decision = decide(book.state, commands, NOW)
        sealer = Sealer(book_id=BOOK, last_hash=head.last_hash, tails=book.tails, random_bytes=bytes)
        await write_decision(connection, head, decision, sealer.seal(decision.records), sealer)
    return decision


async def read(database: Database, *commands: Command) -> tuple[Head, LoadedBook]:
    """Read what commands name."""
    async with database.transaction() as connection:
        return await lock_and_read(connection, commands)


def a_history() -> list[list[Command]]:
    """Some of everything."""
    return [
        [a.open_account(), a.deposit(amount=20_000), a.deposit(amount=Money(500, "JPY")), a.deposit(SELLER)],
        [a.reserve("order", 3_000), a.reserve("open", 500, expires_at=SOON), a.reserve("poor", 10**9)],
        [a.capture(parts={SELLER: 1_999, OTHER_SELLER: 1_001}, final=True), a.void("never was"), a.commit("open")],
        [a.refund(parts={SELLER: 999}), a.capture("nothing", report_refusal=True)],
        [a.set_limit(limit=50), a.withdraw(amount=10), a.deposit(amount=7, effective_at=NOW - timedelta(days=3))],
        [a.transfer(a.leg(BUYER, -40), a.leg(SELLER, 40)), a.open_account()],
    ]


async def test_what_was_decided_in_memory_is_what_is_read_back(database: Database) -> None:
    memory = MemoryBook()

    for batch in a_history():
        memory.run(*batch)
        await commit(database, batch)
        head, book = await read(database, *[command for batch in a_history() for command in batch], *batch)

        read_back, decided = book.state, memory.state
        assert read_back.accounts == decided.accounts
        assert read_back.holds == decided.holds
        assert read_back.capture_legs == decided.capture_legs
        assert all(read_back.keys[scope] == decided.keys[scope] for scope in read_back.keys)
        assert {wallet: code for wallet, code in read_back.wallets.items() if code} == {
            wallet: code for wallet, code in decided.wallets.items() if code
        }
        counters = (head.last_sequence, head.last_recorded_at, head.last_account_id, head.last_event_sequence)
        assert counters == (
            *(decided.last_sequence, decided.last_recorded_at),
            *(decided.last_account_id, decided.last_event_sequence),
        )


async def test_each_key_is_found_again_wherever_its_answer_is(database: Database) -> None:
    accepted, refused, already_true = a.deposit(), a.reserve("poor", 10**9), a.open_account()
    decision = await commit(database, [accepted, refused, already_true])

    _, book = await read(database, accepted, refused, already_true)

    assert list(book.state.keys.values()) == sorted(decision.keys, key=lambda key: key.sequence != 0)
    assert [key.sequence for key in decision.keys] == [3, 0, 0]


async def test_without_accepted_keys_only_answers_without_a_record_are_read(database: Database) -> None:
    accepted, refused = a.deposit(), a.reserve("poor", 10**9)
    await commit(database, [accepted, refused])

    async with database.transaction() as connection:
        named = rows_named_by([accepted, refused])
        _, rows = await lock_and_read_rows(connection, BOOK, named, read_keys=False)

    assert [key.idempotency_key for key in rows.keys] == [refused.idempotency_key]


async def test_a_wallet_that_is_not_there_is_known_not_to_be(database: Database) -> None:
    _, book = await read(database, a.deposit())

    assert book.state.wallets == {BUYER: ""}
    assert book.state.accounts == {}


async def test_the_newest_event_of_a_wallet_is_found_whichever_account_has_it(database: Database) -> None:
    await commit(database, [a.deposit(), a.deposit(amount=Money(5, "JPY")), a.deposit(amount=1)])

    _, book = await read(database, a.deposit(amount=Money(5, "JPY")))

    newest = book.state.newest_account_of(BUYER)
    assert newest is not None
    assert (newest.currency, newest.event_sequence, newest.event_position) == ("EUR", 5, 5)


async def test_what_only_rows_name_is_read_too(database: Database) -> None:
    await commit(database, [a.deposit(), a.reserve("order", 1_000), a.reserve("open", 500, expires_at=SOON)])
    captured = await commit(database, [a.capture(parts=1_000)])

    _, expiring = await read(database, ExpireHold(hold_id=an_id("open")))
    _, refunding = await read(database, a.refund(parts=100, shortfall_to_receivable=True))
    _, reversing = await read(database, a.reverse(captured.last_sequence))

    revenue = system_account_code(AccountType.REVENUE, "EUR")
    assert set(expiring.state.accounts) == {wallet_account_code(BUYER, "EUR")}
    assert {revenue, wallet_account_code(SELLER, "EUR")} <= set(refunding.state.accounts)
    assert {revenue, wallet_account_code(SELLER, "EUR"), wallet_account_code(BUYER, "EUR")} == set(
        reversing.state.accounts
    )
    entry = reversing.state.entries[captured.last_sequence]
    assert (entry.capture_number, entry.hold_id, entry.reversed_by) == (1, an_id("order"), 0)
    assert entry.postings[0] == (wallet_account_code(BUYER, "EUR"), -1_000)
    assert [leg.gross_minor for leg in reversing.state.legs_of(an_id("order"))] == [1_000]


async def test_a_reversed_record_says_by_which(database: Database) -> None:
    deposited = await commit(database, [a.deposit()])
    reversal = await commit(database, [a.reverse(deposited.last_sequence)])

    _, book = await read(database, a.reverse(deposited.last_sequence))

    assert book.state.entries[deposited.last_sequence].reversed_by == reversal.last_sequence


async def test_a_head_that_somebody_else_moved_fails_the_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        head = await lock_head(connection, BOOK)
    await commit(database, [a.deposit()])

    with pytest.raises(Exception, match="revision"):
        async with database.transaction() as connection:
            await move_head(
                connection,
                head,
                last_sequence=0,
                last_hash=head.last_hash,
                last_recorded_at_micros=0,
                last_account_id=0,
                last_event_sequence=0,
            )


async def test_a_second_record_under_one_key_fails_the_batch(database: Database) -> None:
    command = a.deposit()
    await commit(database, [command])

    with pytest.raises(DuplicateKeyError):
        await commit(database, [command], read_keys=False)


async def test_backdated_postings_are_listed(database: Database) -> None:
    earlier = NOW - timedelta(days=3)
    await commit(database, [a.deposit(amount=7), a.deposit(amount=7, effective_at=earlier)])

    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT account_id, effective_at, amount FROM backdated ORDER BY account_id")

    assert rows == [(1, to_micros(earlier), -7), (2, to_micros(earlier), 7)]


def test_every_command_names_its_rows() -> None:
    assert set(get_args(Command)) == set(_NAMERS)
