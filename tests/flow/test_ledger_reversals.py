"""Reversals and receivables on a real database: what the rules say, whatever batch the record was written in."""

from asyncio import gather
from pathlib import Path

import pytest

from services.ledger.commands.command import Command
from services.ledger.domain.account import receivable_account_code
from services.ledger.domain.receipt import Receipt
from services.ledger.queries.book import Book
from services.ledger.queries.hold import SellerShare, hold_with_shares
from services.ledger.queries.verify import verify_book
from services.runtime.errors import TradeFlowError
from tests.support.ledger_commands import (
    BUYER,
    NOW,
    SELLER,
    an_id,
    capture,
    deposit,
    leg,
    pay_off,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    withdraw,
)
from tests.support.ledger_committer import CommitterWorld, a_committer


def reasons(answers: list[Receipt | TradeFlowError]) -> list[str]:
    return [getattr(answer, "reason", "done") for answer in answers]


async def owed(world: CommitterWorld) -> int:
    rows = await world.rows(
        "SELECT b.debits_posted - b.credits_posted FROM accounts a JOIN balances b "
        "ON b.book_id = a.book_id AND b.account_id = a.account_id WHERE a.code = $1",
        receivable_account_code(SELLER, "EUR").encode(),
    )
    return int(rows[0][0]) if rows else 0


@pytest.mark.parametrize("batch_commands_max", [1, 2, 1024])
async def test_a_record_can_be_reversed_as_soon_as_it_is_written(tmp_path: Path, batch_commands_max: int) -> None:
    async with a_committer(tmp_path, batch_commands_max=batch_commands_max) as world:
        await world.committer.submit(deposit(SELLER))

        answers = await gather(
            world.committer.submit_many([deposit(amount=700)]),
            world.committer.submit_many([reverse(5), reverse(5)]),
            world.committer.submit_many([reverse(6), deposit(amount=1)]),
        )

        assert [reasons(part) for part in answers] == [
            ["done"],
            ["done", "already_reversed"],
            ["not_reversible", "done"],
        ]
        assert await world.posted() == 1
        assert await world.rows("SELECT sequence, reversed_by FROM reversals") == [(5, 6)]


async def test_a_reversed_capture_is_known_after_a_restart(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(), reserve(), capture(fee=250), refund(parts=300), reverse(7)])
    async with a_committer(tmp_path) as world:
        answers = await world.committer.submit_many([refund(parts=1), reverse(7), reverse(8), withdraw(amount=10_000)])

        assert reasons(answers) == ["capture_reversed", "already_reversed", "not_reversible", "done"]
        assert (await world.posted(SELLER), await world.posted()) == (0, 0)
        report = await verify_book(Book(database=world.database, book_id=1))
        assert report.problems == ()


async def test_a_capture_of_which_the_fee_left_its_seller_nothing_can_be_reversed_after_a_restart(
    tmp_path: Path,
) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many(
            [deposit(), reserve(amount=34), capture(parts=33, fee=300), capture(parts=1, fee=300, number=2)]
        )
        ((last,),) = await world.rows("SELECT last_sequence FROM books")
    async with a_committer(tmp_path) as world:
        assert reasons(await world.committer.submit_many([reverse(last)])) == ["done"]
        assert (await world.posted(SELLER), await world.posted()) == (33, 10_000 - 33)
        report = await verify_book(Book(database=world.database, book_id=1))
        assert report.problems == ()


async def test_what_a_seller_owes_is_one_account_over_restarts(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(), reserve(amount=1_000), capture(fee=0), withdraw(SELLER)])
        await world.committer.submit(refund(parts=300, shortfall_to_receivable=True))
        assert await owed(world) == 300
    async with a_committer(tmp_path) as world:
        again: list[Command] = [
            refund(parts=500, shortfall_to_receivable=True),
            deposit(SELLER, 1_000),
            pay_off(801),
            pay_off(800),
        ]

        assert reasons(await world.committer.submit_many(again)) == ["done", "done", "exceeds_receivable", "done"]
        assert (await owed(world), await world.posted(SELLER)) == (0, 200)
        report = await verify_book(Book(database=world.database, book_id=1))
        assert report.problems == ()


async def test_a_dry_run_writes_nothing_at_all(tmp_path: Path) -> None:
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many([deposit(), reserve(expires_at=world.in_an_hour())])
        revision = await world.revision()
        rehearsals: list[Command] = [
            *(withdraw(dry_run=True), transfer(dry_run=True), set_limit(dry_run=True), reverse(3, dry_run=True)),
            *(capture(parts=1, dry_run=True), capture(parts=2_000, dry_run=True, report_refusal=True)),
        ]

        answers = await world.committer.submit_many(rehearsals)

        assert reasons(answers) == [*["done"] * 3, "insufficient_funds", "done", "exceeds_hold"]
        assert await world.revision() == revision
        assert await world.rows("SELECT COUNT(*) FROM idempotency_keys") == [(0,)]


async def test_a_posting_that_counts_for_another_day_is_listed_and_no_other_is(tmp_path: Path) -> None:
    earlier = NOW.replace(year=2020)
    async with a_committer(tmp_path) as world:
        await world.committer.submit_many(
            [deposit(), deposit(effective_at=earlier), transfer(leg(BUYER, -5), leg(SELLER, 5), effective_at=earlier)]
        )

        rows = await world.rows("SELECT sequence, leg, amount FROM backdated ORDER BY sequence, leg")

        assert rows == [(4, 0, -10_000), (4, 1, 10_000), (6, 0, -5), (6, 1, 5)]


async def test_what_a_seller_gave_back_of_all_captures_is_summed_on_every_database(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        await world.committer.submit_many(
            [deposit(), reserve(), capture(parts=300), capture(parts=200, number=2), refund(parts=7), reverse(8)]
        )
        book = Book(database=world.database, book_id=1)

        hold, shares = await hold_with_shares(book, an_id("order"))

    assert shares == [SellerShare(seller_id=SELLER, gross_minor=500, gross_refunded_minor=207)]
    assert hold.refunded_minor == 207
