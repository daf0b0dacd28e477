"""What callers were told, held against what the book says."""

from collections import Counter
from collections.abc import Mapping

from services.ledger.queries.book import Book
from services.ledger.queries.verify import verify_book
from services.runtime.database.port import Database
from tests.support.ledger_invariants import assert_money_is_conserved

KEYED_RECORDS = "SELECT idempotency_key, sequence FROM records WHERE book_id = $1 AND idempotency_key IS NOT NULL"
KEYED_ANSWERS = "SELECT idempotency_key, reason FROM idempotency_keys WHERE book_id = $1"


async def assert_book_keeps(database: Database, answers: Mapping[str, int | str], *, book_id: int = 1) -> int:
    """Check every answer that was given against the journal, and the whole book; return the number of keyed records.

    Args:
        database: Where the book is.
        answers: By key, the journal sequence of what was accepted, or the reason of a refusal that is remembered.
        book_id: Which book.
    """
    async with database.snapshot() as connection:
        records = await connection.fetch(KEYED_RECORDS, book_id)
        refusals = await connection.fetch(KEYED_ANSWERS, book_id)
    kept: dict[str, int | str] = {key.decode(): reason.decode() for key, reason in refusals}
    kept |= {key.decode(): sequence for key, sequence in records}
    lost = {key: (answer, kept.get(key)) for key, answer in answers.items() if kept.get(key) != answer}
    assert not lost, f"{len(lost)} of {len(answers)} answers are not in the book: {list(lost.items())[:5]}"
    twice = [key for key, count in Counter(key for key, _ in [*records, *refusals]).items() if count > 1]
    assert not twice, f"a key has two effects: {twice[:5]}"
    await assert_money_is_conserved(database, book_id=book_id)
    report = await verify_book(Book(database=database, book_id=book_id))
    assert report.problems == ()
    return len(records)
