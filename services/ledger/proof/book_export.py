"""Write a whole book to a file, of one snapshot, in pages: it runs beside the service."""

from collections.abc import AsyncIterator, Callable
from itertools import groupby
from typing import IO

from services.ledger.outbound.book_head import current_head
from services.ledger.outbound.book_writing import stream_of
from services.ledger.proof.book_file import (
    FORMAT,
    AnswerLine,
    EventsLine,
    HeaderLine,
    HeadLine,
    KeyLine,
    LineWriter,
    NumbersLine,
    PostingFields,
    RecordLine,
)
from services.ledger.proof.head_rows import heads_from, public_keys
from services.ledger.queries.book import Book
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Row
from services.runtime.errors import NotFoundError

PAGE_ROWS = 500
"""Rows read at once: records with their postings are some 400 KiB."""

PAGE_PACKS = 8
"""Packs of events read at once: some 400 KiB."""

Progress = Callable[[int, int], None]
"""Is told the sequence that was reached, and the last one."""

_RECORDS = """
    SELECT sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, service, idempotency_key,
        fingerprint_version, fingerprint, state_after, metadata, postings_root, hash
    FROM records WHERE book_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""

_POSTINGS = """
    SELECT sequence, account_id, account_sequence, amount, balance_after, salt, hash
    FROM postings WHERE book_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence, leg
"""

_ANSWER_COLUMNS = """
    service, idempotency_key, fingerprint_version, fingerprint, reason, message, details, hold_id, recorded_at, hash
"""

_ANSWERS_OF_SERVICE = f"""
    SELECT {_ANSWER_COLUMNS} FROM idempotency_keys
    WHERE book_id = $1 AND service = $2 AND idempotency_key > $3 ORDER BY idempotency_key LIMIT $4
"""  # noqa: S608 - a constant

_ANSWERS_OF_LATER_SERVICES = f"""
    SELECT {_ANSWER_COLUMNS} FROM idempotency_keys
    WHERE book_id = $1 AND service > $2 ORDER BY service, idempotency_key LIMIT $3
"""  # noqa: S608 - a constant

_NUMBERS = """
    SELECT account_id, event_sequence, event_position FROM balances
    WHERE book_id = $1 AND account_id > $2 AND event_sequence > 0 ORDER BY account_id LIMIT $3
"""

_PUBLISHED = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"

_EVENTS = """
    SELECT sequence, first_sequence, recorded_at, payload FROM outbox
    WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""

Pages = AsyncIterator[list[Row]]


async def export_book(book: Book, file: IO[bytes], progress: Progress) -> int:
    """Write the book, and return the number of its records.

    Raises:
        NotFoundError: There is no such book (`book_missing`).
    """
    async with book.database.snapshot() as connection:
        try:
            head = await current_head(connection, book.book_id)
        except LookupError:
            raise NotFoundError(f"There is no book {book.book_id}.", reason="book_missing") from None
        published = await connection.fetch(_PUBLISHED, stream_of(book.book_id).encode())
        writer = LineWriter(file)
        header = HeaderLine(
            format=FORMAT,
            book_id=book.book_id,
            last_sequence=head.last_sequence,
            last_hash=head.last_hash,
            last_recorded_at=to_micros(head.last_recorded_at),
            last_account_id=head.last_account_id,
            last_event_sequence=head.last_event_sequence,
            published_sequence=published[0][0] if published else 0,
        )
        writer.write(header)
        await _write_records(connection, writer, header, progress)
        await _write_rest(connection, writer, header)
        writer.end()
    return head.last_sequence


async def _write_records(connection: Connection, writer: LineWriter, header: HeaderLine, progress: Progress) -> None:
    reached = 0
    while records := await connection.fetch(_RECORDS, header.book_id, reached, PAGE_ROWS):
        last = records[-1][0]
        rows = await connection.fetch(_POSTINGS, header.book_id, reached, last)
        postings = {
            sequence: [PostingFields(*row[1:]) for row in group]
            for sequence, group in groupby(rows, key=lambda row: row[0])
        }
        for record in records:
            writer.write(_record_line(record, postings.get(record[0], [])))
        reached = last
        progress(reached, max(header.last_sequence, reached))


def _record_line(row: Row, postings: list[PostingFields]) -> RecordLine:
    sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, service, idempotency_key, *rest = row
    fingerprint_version, fingerprint, state_after, metadata, postings_root, digest = rest
    return RecordLine(
        sequence=sequence,
        kind=kind.decode(),
        recorded_at=recorded_at,
        effective_at=effective_at,
        record_id=record_id,
        hold_id=hold_id,
        key_hash=key_hash,
        service=None if service is None else service.decode(),
        idempotency_key=None if idempotency_key is None else idempotency_key.decode(),
        fingerprint_version=fingerprint_version,
        fingerprint=fingerprint,
        state_after=state_after,
        metadata=metadata,
        postings_root=postings_root,
        hash=digest,
        postings=postings,
    )


async def _write_rest(connection: Connection, writer: LineWriter, header: HeaderLine) -> None:
    async for answers in _answers(connection, header.book_id):
        for row in answers:
            writer.write(_answer_line(row))
    await _write_numbers(connection, writer, header.book_id)
    await _write_events(connection, writer, header)
    for key in await public_keys(connection, header.book_id):
        writer.write(KeyLine(key=key))
    size = 0
    while heads := await heads_from(connection, header.book_id, size, heads_max=PAGE_ROWS):
        for head in heads:
            writer.write(HeadLine(head=head))
        size = heads[-1].tree_size + 1


async def _write_numbers(connection: Connection, writer: LineWriter, book_id: int) -> None:
    after = 0
    while rows := await connection.fetch(_NUMBERS, book_id, after, PAGE_ROWS):
        for account_id, event_sequence, event_position in rows:
            writer.write(
                NumbersLine(account_id=account_id, event_sequence=event_sequence, event_position=event_position)
            )
        after = rows[-1][0]


async def _write_events(connection: Connection, writer: LineWriter, header: HeaderLine) -> None:
    after, stream = header.published_sequence, stream_of(header.book_id).encode()
    while rows := await connection.fetch(_EVENTS, stream, after, PAGE_PACKS):
        for sequence, first_sequence, recorded_at, payload in rows:
            writer.write(
                EventsLine(sequence=sequence, first_sequence=first_sequence, recorded_at=recorded_at, payload=payload)
            )
        after = rows[-1][0]


async def _answers(connection: Connection, book_id: int) -> Pages:
    service, key = b"", b""
    while True:
        rows = await connection.fetch(_ANSWERS_OF_SERVICE, book_id, service, key, PAGE_ROWS)
        if len(rows) < PAGE_ROWS:
            rows += await connection.fetch(_ANSWERS_OF_LATER_SERVICES, book_id, service, PAGE_ROWS - len(rows))
        if not rows:
            return
        yield rows
        service, key = rows[-1][0], rows[-1][1]


def _answer_line(row: Row) -> AnswerLine:
    service, idempotency_key, fingerprint_version, fingerprint, reason, message, details, *rest = row
    hold_id, recorded_at, digest = rest
    return AnswerLine(
        service=service.decode(),
        idempotency_key=idempotency_key.decode(),
        fingerprint_version=fingerprint_version,
        fingerprint=fingerprint,
        reason=reason.decode(),
        message=message.decode(),
        details=details.decode(),
        hold_id=hold_id,
        recorded_at=recorded_at,
        hash=digest,
    )
