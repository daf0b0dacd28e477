"""Bring a book in from a file: all of it, unchanged, or nothing.

The file is loaded twice: first into a database of its own in a temporary folder, where everything is verified that
`verify` looks at, and only then, if nothing is wrong, into the book's place. So a file that was tampered with leaves no
trace, however well it was done. An import that was interrupted goes on behind its last record when it is called again.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import IntegrityError

from services.ledger.proof.book_file import BookFileError, HeaderLine, read_lines
from services.ledger.proof.book_load import load_book
from services.ledger.proof.verify_proof import verify_proof
from services.ledger.queries.book import Book
from services.ledger.queries.verification.findings import Problem
from services.ledger.queries.verify import verify_book
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database, DuplicateKeyError, ValueMissingError
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import ConflictError, RefusedError

MIGRATIONS = "services.ledger.migrations"
"""Where the tables' steps are."""

Progress = Callable[[str, int, int], None]
"""Is told a phase, the sequence that was reached in it, and the last one."""

_HEAD = "SELECT last_sequence, last_event_sequence FROM books WHERE book_id = $1"


class BookNotEmptyError(ConflictError):
    """There is a book already: an import never mixes with one."""

    default_reason = "book_not_empty"


async def import_book(file: Path, database: Database, progress: Progress) -> HeaderLine:
    """Bring in the book of a file, and return its header.

    The database's tables exist. No ledger may run on the book meanwhile: it could only fail.

    Raises:
        BookFileError: The file is not a whole, unchanged book; the database is as it was before.
        BookNotEmptyError: The database has this book already.
    """
    header = await _verified(file, database, progress)
    with file.open("rb") as lines:
        loaded = await load_book(database, read_lines(lines), lambda done, total: progress("importing", done, total))
    if loaded != header:
        raise BookFileError("The file was changed while it was read.")
    return header


async def _verified(file: Path, database: Database, progress: Progress) -> HeaderLine:
    """Load the file where it can do no harm, and look at all of it."""
    with file.open("rb") as opened:
        header = next(read_lines(opened))
    if not isinstance(header, HeaderLine):
        raise BookFileError("The file has no header.")
    await _require_empty(database, header.book_id)
    with tempfile.TemporaryDirectory(prefix="tradeflow-import-") as folder:
        scratch = SqliteDatabase(Path(folder) / "ledger.db")
        try:
            await migrate(scratch, MIGRATIONS)
            with file.open("rb") as opened, _refusing_what_no_ledger_wrote():
                await load_book(scratch, read_lines(opened), lambda done, total: progress("reading", done, total))
            await _verify(Book(database=scratch, book_id=header.book_id), progress)
        finally:
            await scratch.close()
    return header


@contextmanager
def _refusing_what_no_ledger_wrote() -> Iterator[None]:
    """Tell what a line can't be, which its own shape allows: numbers, keys and sums that no tables hold."""
    try:
        yield
    except (ValueError, OverflowError, RefusedError, DuplicateKeyError, ValueMissingError, IntegrityError) as error:
        raise BookFileError(f"The file holds something that no ledger wrote: {error}.") from error


async def _require_empty(database: Database, book_id: int) -> None:
    async with database.snapshot() as connection:
        heads = await connection.fetch(_HEAD, book_id)
    if heads and any(heads[0]):
        raise BookNotEmptyError(f"The database has book {book_id} already.")


async def _verify(book: Book, progress: Progress) -> None:
    report = await verify_book(book, lambda part, done, total: progress(f"verifying {part}", done, total))
    _refuse(report.problems, report.problems_found)
    proof = await verify_proof(book, lambda done, total: progress("verifying the proof", done, total))
    _refuse(proof.problems, proof.problems_found)


def _refuse(problems: tuple[Problem, ...], problems_found: int) -> None:
    if problems:
        more = f" (and {problems_found - 1} more)" if problems_found > 1 else ""
        raise BookFileError(f"The book in the file isn't sound: {problems[0]}{more}")
