"""What no door shows yet, and the pages of what they do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.refusals import RecordNotFoundError
from services.ledger.queries.accounts import accounts_page
from services.ledger.queries.book import Book, book_head
from services.ledger.queries.records import RecordsFilter, record_by_sequence, records_page
from services.ledger.queries.statement import statement_page
from services.ledger.queries.wallet_events import wallet_events_after
from services.ledger.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import UnavailableError
from tests.support import ledger_commands as a
from tests.support.ledger_commands import BUYER, SELLER


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    database = SqliteDatabase(tmp_path / "ledger.db")
    await migrate(database, MIGRATIONS)
    yield Book(database=database, book_id=1)
    await database.close()


@pytest.fixture
async def committer(book: Book) -> AsyncIterator[Committer]:
    async with committing(book.database, book_id=1) as committer:
        yield committer


async def test_the_chart_of_accounts_comes_in_pages_in_order_of_the_codes(book: Book, committer: Committer) -> None:
    await committer.submit_many([a.deposit(wallet=BUYER, amount=5), a.deposit(wallet=SELLER, amount=7)])

    first = await accounts_page(book, accounts_max=2)
    rest = await accounts_page(book, after_code=first.next_after_code, accounts_max=2)

    accounts = [*first.accounts, *rest.accounts]
    assert [account.code for account in accounts] == sorted(
        ["system:funding:EUR", f"wallet:{BUYER}:EUR", f"wallet:{SELLER}:EUR"]
    )
    assert rest.next_after_code == ""
    assert sum(account.balance_minor for account in accounts) == 0


async def test_a_book_shows_where_it_stands_once_it_was_made(book: Book, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as refusal:
        await book_head(book)

    async with committing(book.database, book_id=1) as committer:
        await committer.submit(a.deposit())
        head = await book_head(book)

    assert refusal.value.reason == "book_missing"
    assert (head.last_sequence, head.last_event_sequence) == (3, 2)


async def test_a_page_that_ends_with_the_statement_has_none_after_it(book: Book, committer: Committer) -> None:
    await committer.submit_many([a.deposit(amount=1), a.deposit(amount=2)])

    exact = await statement_page(book, BUYER, "EUR", after_account_sequence=0, lines_max=2)
    beyond = await statement_page(book, BUYER, "EUR", after_account_sequence=2, lines_max=2)

    assert (len(exact.lines), exact.next_after_account_sequence) == (2, 0)
    assert (beyond.lines, beyond.next_after_account_sequence) == ((), 0)


@pytest.mark.parametrize("sequence", [-1, 0, 4, 2**63, 10**30])
async def test_a_number_that_no_record_has_is_not_found(book: Book, committer: Committer, sequence: int) -> None:
    await committer.submit(a.deposit())

    with pytest.raises(RecordNotFoundError):
        await record_by_sequence(book, sequence)


async def test_records_of_an_account_that_pays_itself_come_in_pages_too(book: Book, committer: Committer) -> None:
    captures = [a.capture(parts={BUYER: 10}, number=number) for number in range(1, 6)]
    await committer.submit_many([a.deposit(), a.reserve(amount=50), *captures])
    wanted = RecordsFilter(account_code=f"wallet:{BUYER}:EUR")

    page = await records_page(book, wanted, records_max=2)
    found = [record.sequence for record in page.records]
    while page.next_after_sequence:
        page = await records_page(book, wanted, after_sequence=page.next_after_sequence, records_max=2)
        found += [record.sequence for record in page.records]

    assert len(found) == len(set(found)) == 1 + len(captures)


async def test_a_client_that_has_all_events_need_not_reload(book: Book, committer: Committer) -> None:
    await committer.submit(a.deposit())

    page = await wallet_events_after(book, BUYER, after_sequence=2, events_max=10)
    of_nobody = await wallet_events_after(book, SELLER, after_sequence=0, events_max=10)

    assert (page.payloads, page.reload_required, page.last_sequence) == ((), False, 2)
    assert (of_nobody.payloads, of_nobody.reload_required) == ((), False)


async def test_a_gap_in_the_middle_asks_for_a_reload_rather_than_to_skip(book: Book, committer: Committer) -> None:
    for amount in (1, 2, 3):
        await committer.submit(a.deposit(amount=amount))
    async with book.database.transaction() as connection:
        await connection.execute("DELETE FROM outbox WHERE sequence = 3")

    page = await wallet_events_after(book, BUYER, after_sequence=0, events_max=10)

    assert (page.payloads, page.reload_required) == ((), True)
