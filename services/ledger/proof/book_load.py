"""Load a book's lines into a database, in bounded steps, each of them one transaction.

The book's head row comes last: until then no committer can write to the book, and nobody takes it for whole. Each step
leaves all tables as the records so far make them, so a load that was interrupted goes on behind the last record.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from services.ledger.domain.account import Account
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import GENESIS_HASH, RecordKind
from services.ledger.domain.state_after import StateAfter, decode_state_after
from services.ledger.outbound.book_head import begin_book, lock_head, move_head
from services.ledger.outbound.book_writing import BookRows, stream_of, write_rows
from services.ledger.outbound.stored_rows import account_row, balance_row, expiry_rows, hold_row, leg_row
from services.ledger.outbound.stored_values import ACCOUNT_COLUMNS, HOLD_COLUMNS, account_of_row, hold_of_row
from services.ledger.proof.book_file import (
    AnswerLine,
    BookFileError,
    EventsLine,
    HeaderLine,
    HeadLine,
    KeyLine,
    Line,
    NumbersLine,
    RecordLine,
)
from services.ledger.proof.head_rows import store_head, store_key
from services.runtime.database.port import Connection, Database

STEP_LINES = 500
"""Lines of one transaction: some 400 KiB, and a fraction of a second."""

STEP_PACK_BYTES = 256 * 1024
"""Packs of events are large: a transaction has that much of them, or one."""

Progress = Callable[[int, int], None]
"""Is told the sequence that was reached, and the last one."""

_ACCOUNTS = f"""
    SELECT {ACCOUNT_COLUMNS}, b.last_posting_hash
    FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
    WHERE a.book_id = $1 AND a.account_id IN ($in)
"""  # noqa: S608 - a constant

_HOLDS = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id IN ($in)"  # noqa: S608 - a constant

_NEWEST_RECORD = "SELECT sequence, hash FROM records WHERE book_id = $1 ORDER BY sequence DESC LIMIT 1"

_INSERT_ANSWERS = """
    INSERT INTO idempotency_keys (book_id, service, idempotency_key, fingerprint_version, fingerprint, reason, message,
        details, hold_id, recorded_at, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (book_id, service, idempotency_key) DO NOTHING
"""

_NUMBER_BALANCES = """
    UPDATE balances SET event_sequence = $1, event_position = $2 WHERE book_id = $3 AND account_id = $4
"""

_INSERT_EVENTS = """
    INSERT INTO outbox (stream, sequence, first_sequence, recorded_at, payload) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (stream, sequence) DO NOTHING
"""

# What was published elsewhere is not published again.
_INSERT_PUBLISHED = """
    INSERT INTO outbox_relays (stream, cursor_sequence, lease_holder, lease_expires_at, fencing_token)
    VALUES ($1, $2, $3, 0, 0)
    ON CONFLICT (stream) DO UPDATE SET cursor_sequence = EXCLUDED.cursor_sequence
"""


async def load_book(database: Database, lines: Iterator[Line], progress: Progress) -> HeaderLine:
    """Load a book, and return its header. The database's tables exist and have nothing of the book, or a part of it.

    Raises:
        BookFileError: A line contradicts those before it, or another book's part is there.
    """
    header = next(lines)
    if not isinstance(header, HeaderLine):
        raise BookFileError("The file has no header.")
    reached, tail = await _reached(database, header.book_id)
    for kind, group in groupby(lines, key=type):
        for step in _steps(group):
            if kind is RecordLine:
                records = [line for line in step if isinstance(line, RecordLine)]
                reached, tail = await _load_records(database, header, records, reached, tail)
                progress(reached, max(header.last_sequence, reached))
            else:
                async with database.transaction() as connection:
                    await _load_others(connection, header.book_id, step)
    if (reached, tail) != (header.last_sequence, header.last_hash):
        raise BookFileError(f"The records end at {reached}, and the header names {header.last_sequence} and its hash.")
    await _begin(database, header)
    return header


async def _reached(database: Database, book_id: int) -> tuple[int, bytes]:
    async with database.snapshot() as connection:
        newest = await connection.fetch(_NEWEST_RECORD, book_id)
    return (newest[0][0], newest[0][1]) if newest else (0, GENESIS_HASH)


def _steps(lines: Iterable[Line]) -> Iterator[list[Line]]:
    step: list[Line] = []
    pack_bytes = 0
    for line in lines:
        step.append(line)
        pack_bytes += len(line.payload) if isinstance(line, EventsLine) else 0
        if len(step) == STEP_LINES or pack_bytes >= STEP_PACK_BYTES:
            yield step
            step, pack_bytes = [], 0
    if step:
        yield step


async def _load_records(
    database: Database, header: HeaderLine, step: Sequence[RecordLine], reached: int, tail: bytes
) -> tuple[int, bytes]:
    """Write the records that aren't there yet; return where the journal ends then."""
    due = [line for line in step if line.sequence > reached]
    known = next((line for line in step if line.sequence == reached), None)
    if known is not None and known.hash != tail:
        raise BookFileError(f"A part of another book is there: its record {reached} is another one.")
    if not due:
        return reached, tail
    if [line.sequence for line in due] != list(range(reached + 1, reached + 1 + len(due))):
        raise BookFileError(f"Record {reached + 1} is missing or out of order.")
    async with database.transaction() as connection:
        await write_rows(connection, await _rows_of(connection, header.book_id, due))
    return due[-1].sequence, due[-1].hash


async def _rows_of(connection: Connection, book_id: int, records: Sequence[RecordLine]) -> BookRows:
    """Make all rows that the records make, on top of what is there."""
    states = [_state_of(record) for record in records]
    state = _Loading(book_id)
    await state.read(connection, records, states)
    for record, left in zip(records, states, strict=True):
        state.apply(record, left)
    return BookRows(
        records=[_record_row(book_id, record) for record in records],
        postings=[
            (book_id, record.sequence, leg, p.account_id, p.account_sequence, p.amount, p.balance_after, p.salt, p.hash)
            for record in records
            for leg, p in enumerate(record.postings)
        ],
        backdated=sorted(
            (book_id, p.account_id, record.effective_at, record.sequence, leg, record.recorded_at, p.amount)
            for record in records
            if record.effective_at != record.recorded_at
            for leg, p in enumerate(record.postings)
        ),
        reversals=sorted(
            (book_id, left.reverses, record.sequence)
            for record, left in zip(records, states, strict=True)
            if left.reverses
        ),
        accounts=sorted(account_row(book_id, account) for account in state.opened),
        balances=[balance_row(book_id, state.accounts[number], state.tails) for number in sorted(state.accounts)],
        holds=sorted(hold_row(book_id, hold) for hold in state.holds.values()),
        expiries=sorted(expiry_rows(book_id, state.made)),
        legs=sorted(
            leg_row(book_id, leg)
            for leg in {
                (leg.hold_id, leg.capture_number, leg.seller_id): leg for left in states for leg in left.capture_legs
            }.values()
        ),
    )


class _Loading:
    """Accounts and holds that a step's records change: as they were, and then as the records leave them."""

    def __init__(self, book_id: int) -> None:
        self._book_id = book_id
        self.accounts: dict[int, Account] = {}
        self.tails: dict[int, bytes] = {}
        self.opened: list[Account] = []
        self.holds: dict[bytes, Hold] = {}
        self.made: list[Hold] = []

    async def read(self, connection: Connection, records: Sequence[RecordLine], states: Sequence[StateAfter]) -> None:
        """Read what the records name."""
        numbers = {posting.account_id for record in records for posting in record.postings}
        numbers |= {state.hold.account_id for state in states if state.hold is not None}
        numbers |= {state.account.account_id for state in states if state.account is not None}
        hold_ids = sorted({state.hold.hold_id.bytes for state in states if state.hold is not None})
        for row in await connection.fetch_in(_ACCOUNTS, sorted(numbers), self._book_id):
            self.accounts[row[0]], self.tails[row[0]] = account_of_row(row[:-1]), row[-1]
        for row in await connection.fetch_in(_HOLDS, hold_ids, self._book_id):
            self.holds[row[0]] = hold_of_row(row)

    def apply(self, record: RecordLine, left: StateAfter) -> None:
        """Do what a record says."""
        if left.account is not None:
            self._apply_account(record, left.account)
        for posting in record.postings:
            account = self._account(record, posting.account_id)
            changed = account.credit(posting.amount) if posting.amount > 0 else account.debit(-posting.amount)
            self.accounts[posting.account_id] = changed
            self.tails[posting.account_id] = posting.hash
        if left.hold is not None:
            self._apply_hold(record, left.hold)

    def _apply_account(self, record: RecordLine, told: Account) -> None:
        if record.kind == RecordKind.ACCOUNT_OPENED.value:
            self.accounts[told.account_id] = told
            self.opened.append(told)
        else:
            account = self._account(record, told.account_id)
            self.accounts[told.account_id] = account.limit(told.overdraft_limit, told.limit_sequence)

    def _apply_hold(self, record: RecordLine, hold: Hold) -> None:
        before = self.holds.get(hold.hold_id.bytes)
        released = before.remaining_minor if before is not None and before.is_active else 0
        held = hold.remaining_minor if hold.is_active else 0
        if held != released:
            account = self._account(record, hold.account_id)
            self.accounts[hold.account_id] = account.set_aside(held - released)
        if before is None:
            self.made.append(hold)
        self.holds[hold.hold_id.bytes] = hold

    def _account(self, record: RecordLine, account_id: int) -> Account:
        account = self.accounts.get(account_id)
        if account is None:
            raise BookFileError(f"Record {record.sequence} names account {account_id}, which no record opened.")
        return account


def _state_of(record: RecordLine) -> StateAfter:
    try:
        return decode_state_after(record.state_after)
    except (ValueError, OverflowError) as error:
        raise BookFileError(f"Record {record.sequence} left something that can't be read: {error}.") from error


def _record_row(book_id: int, record: RecordLine) -> tuple[object, ...]:
    return (
        book_id,
        record.sequence,
        record.kind.encode(),
        record.recorded_at,
        record.effective_at,
        record.record_id,
        record.hold_id,
        record.key_hash,
        None if record.service is None else record.service.encode(),
        None if record.idempotency_key is None else record.idempotency_key.encode(),
        record.fingerprint_version,
        record.fingerprint,
        record.state_after,
        record.metadata,
        record.postings_root,
        record.hash,
    )


async def _load_others(connection: Connection, book_id: int, step: Sequence[Line]) -> None:
    """Write what isn't a record; what is there already stays."""
    stream = stream_of(book_id).encode()
    answers = [_answer_row(book_id, line) for line in step if isinstance(line, AnswerLine)]
    await connection.execute_many(_INSERT_ANSWERS, answers)
    events = [
        (stream, line.sequence, line.first_sequence, line.recorded_at, line.payload)
        for line in step
        if isinstance(line, EventsLine)
    ]
    await connection.execute_many(_INSERT_EVENTS, events)
    for line in step:
        if isinstance(line, NumbersLine):
            await connection.execute(
                _NUMBER_BALANCES, line.event_sequence, line.event_position, book_id, line.account_id
            )
        elif isinstance(line, KeyLine):
            await store_key(connection, book_id, line.key)
        elif isinstance(line, HeadLine):
            if line.head.book_id != book_id:
                raise BookFileError(f"A head is that of book {line.head.book_id}, and the file has book {book_id}.")
            await store_head(connection, line.head)


def _answer_row(book_id: int, line: AnswerLine) -> tuple[object, ...]:
    return (
        book_id,
        line.service.encode(),
        line.idempotency_key.encode(),
        line.fingerprint_version,
        line.fingerprint,
        line.reason.encode(),
        line.message.encode(),
        line.details.encode(),
        line.hold_id,
        line.recorded_at,
        line.hash,
    )


async def _begin(database: Database, header: HeaderLine) -> None:
    """Let the book begin where the file's ends."""
    async with database.transaction() as connection:
        await begin_book(connection, header.book_id)
        head = await lock_head(connection, header.book_id)
        if head.last_sequence or head.last_event_sequence:
            raise BookFileError(f"Book {header.book_id} was begun meanwhile.")
        await connection.execute(
            _INSERT_PUBLISHED, stream_of(header.book_id).encode(), header.published_sequence, bytes(16)
        )
        await move_head(
            connection,
            head,
            last_sequence=header.last_sequence,
            last_hash=header.last_hash,
            last_recorded_at_micros=header.last_recorded_at,
            last_account_id=header.last_account_id,
            last_event_sequence=header.last_event_sequence,
        )
