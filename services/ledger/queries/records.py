"""The journal: its records with their postings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.ledger.domain.metadata import decode_metadata
from services.ledger.domain.refusals import RecordNotFoundError
from services.ledger.queries.book import Book
from services.ledger.queries.instants import account_sequence_at, sequence_at
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, Row

RECORD_COLUMNS = "sequence, record_id, kind, recorded_at, effective_at, hold_id, metadata, hash"
"""Columns of `records` that `_record` takes, in its order."""

LAST_SEQUENCE = "SELECT last_sequence FROM books WHERE book_id = $1"
"""Where the journal ends. Locks nothing."""

RECORDS_BETWEEN = f"""
SELECT {RECORD_COLUMNS} FROM records WHERE book_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4
"""  # noqa: S608 - a constant
"""Records between two sequences, by primary key. Locks nothing."""

RECORDS_OF_HOLD = f"""
SELECT {RECORD_COLUMNS} FROM records WHERE book_id = $1 AND hold_id = $2 AND sequence > $3 AND sequence <= $4
ORDER BY sequence LIMIT $5
"""  # noqa: S608 - a constant
"""Records of one hold, by the index on it. Locks nothing."""

RECORDS_BY_SEQUENCE = f"SELECT {RECORD_COLUMNS} FROM records WHERE book_id = $1 AND sequence IN ($in)"  # noqa: S608 - a constant
"""Some records, by primary key. Locks nothing."""

ACCOUNT_BY_CODE = """
SELECT a.account_id, b.account_sequence FROM accounts a
JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.code = $2
"""
"""An account and its newest posting. Locks nothing."""

SEQUENCES_OF_ACCOUNT = """
SELECT DISTINCT sequence FROM (
    SELECT sequence, account_sequence FROM postings
    WHERE book_id = $1 AND account_id = $2 AND account_sequence > $3 AND account_sequence <= $4
    ORDER BY account_sequence LIMIT $5
) AS p ORDER BY sequence LIMIT $6
"""
"""The records of an account's postings, by the index on it. Locks nothing."""

POSTINGS_OF_RECORD_MAX = 2
"""How many postings of one record an account has at most: a buyer who is also the seller pays and receives."""

POSTINGS_OF_RECORDS = """
SELECT p.sequence, p.leg, a.code, a.wallet_id, a.currency, p.amount, p.balance_after, p.account_sequence
FROM postings p JOIN accounts a ON a.book_id = p.book_id AND a.account_id = p.account_id
WHERE p.book_id = $1 AND p.sequence IN ($in)
"""
"""The postings of some records with their accounts. Locks nothing."""

REVERSALS_OF_RECORDS = "SELECT sequence, reversed_by FROM reversals WHERE book_id = $1 AND sequence IN ($in)"
"""Which of some records were undone, and by which. Locks nothing."""

SEQUENCE_MAX = 2**63 - 1
"""The largest sequence of a record: the database's column."""

ROWS_SCANNED_MAX = 2000
"""How many records are looked at for one page: a filter that few pass must not read the whole journal."""


class JournalPosting(Struct, frozen=True, kw_only=True):
    """One posting: positive amounts credit the account."""

    leg: int
    account_code: str
    wallet_id: UUID | None
    currency: str
    amount_minor: int
    balance_after_minor: int
    account_sequence: int


class JournalRecord(Struct, frozen=True, kw_only=True):
    """One record as it was recorded; `reversed_by` is as it is now, 0 for none."""

    sequence: int
    record_id: UUID
    kind: str
    recorded_at: datetime
    effective_at: datetime
    hold_id: UUID | None
    metadata: dict[str, str]
    note: str
    hash: bytes
    postings: tuple[JournalPosting, ...] = ()
    reversed_by: int = 0

    def seen_by_owner(self, wallet_id: UUID) -> "JournalRecord":
        """Leave out what concerns others: their postings, and what the command carried."""
        own = tuple(posting for posting in self.postings if posting.wallet_id == wallet_id)
        return replace(self, postings=own, metadata={}, note="")


class RecordsFilter(Struct, frozen=True, kw_only=True):
    """Which records are wanted; what is None, or empty, leaves none out."""

    hold_id: UUID | None = None
    kinds: frozenset[str] = frozenset()
    recorded_from: datetime | None = None
    recorded_until: datetime | None = None
    """Exclusive."""
    account_code: str = ""


class RecordsPage(Struct, frozen=True, kw_only=True):
    """Some records, and the sequence to go on after, or 0 at the end."""

    records: tuple[JournalRecord, ...]
    next_after_sequence: int = 0


async def record_by_sequence(book: Book, sequence: int) -> JournalRecord:
    """Read one record with its postings.

    Raises:
        RecordNotFoundError: There is none.
    """
    async with book.database.snapshot() as connection:
        sequences = [sequence] if 0 < sequence <= SEQUENCE_MAX else []
        rows = await connection.fetch_in(RECORDS_BY_SEQUENCE, sequences, book.book_id)
        if not rows:
            raise RecordNotFoundError(f"There is no record {sequence}.")
        (record,) = await _complete(connection, book, rows)
    return record


async def records_page(
    book: Book, wanted: RecordsFilter, *, after_sequence: int = 0, records_max: int = 50
) -> RecordsPage:
    """Read the records that follow a sequence, oldest first; a short page may still have a next one."""
    looks_at_records = bool(wanted.kinds) or (wanted.hold_id is not None and bool(wanted.account_code))
    rows_max = max(records_max, ROWS_SCANNED_MAX) if looks_at_records else records_max
    async with book.database.snapshot() as connection:
        rows = await _rows(connection, book, wanted, after_sequence, rows_max + 1)
        fitting = [row for row in rows[:rows_max] if not wanted.kinds or row[2].decode() in wanted.kinds]
        records = await _complete(connection, book, fitting[:records_max])
    if wanted.hold_id is not None and wanted.account_code:
        records = [record for record in records if _touches(record, wanted.account_code)]
    if len(fitting) > records_max:
        return RecordsPage(records=tuple(records), next_after_sequence=fitting[records_max - 1][0])
    if len(rows) > rows_max:
        return RecordsPage(records=tuple(records), next_after_sequence=rows[rows_max - 1][0])
    return RecordsPage(records=tuple(records))


async def _rows(connection: Connection, book: Book, wanted: RecordsFilter, after: int, rows_max: int) -> list[Row]:
    heads = await connection.fetch(LAST_SEQUENCE, book.book_id)
    last = heads[0][0] if heads else 0

    async def before(instant: datetime) -> int:
        return await sequence_at(connection, book.book_id, last, to_micros(instant) - 1)

    low = max(after, 0 if wanted.recorded_from is None else await before(wanted.recorded_from))
    high = last if wanted.recorded_until is None else await before(wanted.recorded_until)
    if wanted.hold_id is not None:
        return await connection.fetch(RECORDS_OF_HOLD, book.book_id, wanted.hold_id.bytes, low, high, rows_max)
    if wanted.account_code:
        return await _rows_of_account(connection, book, wanted.account_code, low, high, rows_max)
    return await connection.fetch(RECORDS_BETWEEN, book.book_id, low, high, rows_max)


async def _rows_of_account(
    connection: Connection, book: Book, code: str, low: int, high: int, rows_max: int
) -> list[Row]:
    accounts = await connection.fetch(ACCOUNT_BY_CODE, book.book_id, code.encode())
    if not accounts:
        return []
    account_id, newest = accounts[0]
    bounds = [
        await account_sequence_at(connection, book.book_id, account_id, newest, sequence) for sequence in (low, high)
    ]
    postings_max = rows_max * POSTINGS_OF_RECORD_MAX
    sequences = await connection.fetch(SEQUENCES_OF_ACCOUNT, book.book_id, account_id, *bounds, postings_max, rows_max)
    rows = await connection.fetch_in(RECORDS_BY_SEQUENCE, [row[0] for row in sequences], book.book_id)
    return sorted(rows, key=lambda row: int(row[0]))


async def _complete(connection: Connection, book: Book, rows: Sequence[Row]) -> list[JournalRecord]:
    """Make records of rows, with their postings and reversals."""
    sequences = [row[0] for row in rows]
    postings = await _postings(connection, book, sequences)
    reversals = await connection.fetch_in(REVERSALS_OF_RECORDS, sequences, book.book_id)
    reversed_by: Mapping[int, int] = {row[0]: row[1] for row in reversals}
    return [_record(row, postings.get(row[0], ()), reversed_by.get(row[0], 0)) for row in rows]


async def _postings(
    connection: Connection, book: Book, sequences: Sequence[int]
) -> Mapping[int, Iterable[JournalPosting]]:
    postings: dict[int, list[JournalPosting]] = defaultdict(list)
    rows = await connection.fetch_in(POSTINGS_OF_RECORDS, sequences, book.book_id)
    for sequence, leg, code, wallet_id, currency, amount, balance_after, account_sequence in sorted(rows):
        postings[sequence].append(
            JournalPosting(
                leg=leg,
                account_code=code.decode(),
                wallet_id=UUID(bytes=wallet_id) if wallet_id else None,
                currency=currency.decode(),
                amount_minor=amount,
                balance_after_minor=balance_after,
                account_sequence=account_sequence,
            )
        )
    return postings


def _record(row: Row, postings: Iterable[JournalPosting], reversed_by: int) -> JournalRecord:
    sequence, record_id, kind, recorded_at, effective_at, hold_id, content, record_hash = row
    metadata, note = decode_metadata(content)
    return JournalRecord(
        sequence=sequence,
        record_id=UUID(bytes=record_id),
        kind=kind.decode(),
        recorded_at=from_micros(recorded_at),
        effective_at=from_micros(effective_at),
        hold_id=UUID(bytes=hold_id) if hold_id else None,
        metadata=metadata,
        note=note,
        hash=record_hash,
        postings=tuple(postings),
        reversed_by=reversed_by,
    )


def _touches(record: JournalRecord, account_code: str) -> bool:
    return any(posting.account_code == account_code for posting in record.postings)
