"""The journal, record by record: no gap, chained hashes, postings that are covered by them and sum to zero."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from services.ledger.domain.hold import HoldState
from services.ledger.domain.journal import GENESIS_HASH, RecordKind
from services.ledger.domain.merkle import merkle_root
from services.ledger.domain.proof import record_hash
from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.findings import Findings
from services.runtime.clock import EPOCH, from_micros, to_micros
from services.runtime.database.port import Connection, Row

PAGE_RECORDS = 500
"""Records read at once: with their postings a few hundred KiB."""

RECORDS_PAGE = """
SELECT sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, state_after, metadata, postings_root,
    hash
FROM records
WHERE book_id = $1 AND sequence > $2
ORDER BY sequence
LIMIT $3
"""
"""The records after a sequence, by primary key."""

POSTINGS_OF_RECORDS = """
SELECT p.sequence, p.leg, p.amount, p.hash, a.currency
FROM postings p LEFT JOIN accounts a ON a.book_id = p.book_id AND a.account_id = p.account_id
WHERE p.book_id = $1 AND p.sequence > $2 AND p.sequence <= $3
ORDER BY p.sequence, p.leg
"""
"""The postings of a range of records, by primary key, with their assets."""

POSTINGS_BEYOND = """
SELECT sequence, leg FROM postings WHERE book_id = $1 AND (sequence > $2 OR sequence < 1) ORDER BY sequence, leg LIMIT 1
"""
"""A posting that no record can cover."""

RECORD_BEFORE = "SELECT hash, recorded_at FROM records WHERE book_id = $1 AND sequence = $2"
"""What the walk is chained to when it doesn't start at 1."""

Progress = Callable[[int, int], None]
"""Is told the sequence that was reached, and the last one."""


@dataclass(slots=True, kw_only=True)
class JournalWalk:
    """Where the walk is, and what it counted."""

    last_sequence: int
    last_hash: bytes = GENESIS_HASH
    last_recorded_at: datetime = EPOCH
    records: int = 0
    postings: int = 0
    accounts_opened: int = 0
    holds_made: int = 0
    legs_made: int = 0


async def walk_journal(
    connection: Connection,
    findings: Findings,
    *,
    book_id: int,
    from_sequence: int,
    head_sequence: int,
    progress: Progress,
) -> JournalWalk:
    """Check every record from `from_sequence` on; the record before it is believed."""
    walk = await _start(connection, findings, book_id, from_sequence)
    while records := await connection.fetch(RECORDS_PAGE, book_id, walk.last_sequence, PAGE_RECORDS):
        first_after, last = walk.last_sequence, records[-1][0]
        postings = _by_record(await connection.fetch(POSTINGS_OF_RECORDS, book_id, first_after, last))
        for record in records:
            _check_record(findings, book_id, walk, record, postings.pop(record[0], []))
        for sequence in postings:
            findings.add("postings", f"sequence {sequence}", "sequence", "belongs to no record.")
        progress(walk.last_sequence, max(head_sequence, walk.last_sequence))
    for sequence, leg in await connection.fetch(POSTINGS_BEYOND, book_id, walk.last_sequence):
        findings.add("postings", f"sequence {sequence} leg {leg}", "sequence", "belongs to no record.")
    return walk


async def _start(connection: Connection, findings: Findings, book_id: int, from_sequence: int) -> JournalWalk:
    walk = JournalWalk(last_sequence=from_sequence - 1)
    if from_sequence == 1:
        return walk
    before = await connection.fetch(RECORD_BEFORE, book_id, walk.last_sequence)
    if not before:
        findings.add("records", f"sequence {walk.last_sequence}", "sequence", "is missing.")
        return walk
    walk.last_hash, walk.last_recorded_at = before[0][0], from_micros(before[0][1])
    return walk


def _by_record(postings: Iterable[Row]) -> dict[int, list[Row]]:
    return {sequence: list(rows) for sequence, rows in groupby(postings, key=lambda row: row[0])}


def _check_record(findings: Findings, book_id: int, walk: JournalWalk, record: Row, postings: list[Row]) -> None:
    sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, state_after, metadata, root, digest = (
        record
    )
    row = f"sequence {sequence}"
    if sequence != walk.last_sequence + 1:
        findings.add("records", row, "sequence", f"follows {walk.last_sequence}: records are missing in between.")
    if recorded_at <= to_micros(walk.last_recorded_at):
        findings.add("records", row, "recorded_at", "is not after the record before it.")
    _check_postings(findings, row, postings)
    if merkle_root([posting[3] for posting in postings]) != root:
        findings.add("records", row, "postings_root", "is not the root of the record's postings.")
    with findings.unreadable("records", row, "hash"):
        expected = record_hash(
            book_id=book_id,
            sequence=sequence,
            kind=kind.decode(),
            record_id=record_id,
            hold_id=UUID(bytes=hold_id) if hold_id is not None else None,
            recorded_at=from_micros(recorded_at),
            effective_at=from_micros(effective_at),
            key_hash=key_hash,
            state_after=state_after,
            metadata=metadata,
            postings_root=root,
            previous_hash=walk.last_hash,
        )
        if expected != digest:
            findings.add("records", row, "hash", "does not fit the record and the one before it: one was changed.")
    _count(findings, walk, row, record)
    walk.postings += len(postings)
    walk.last_sequence, walk.last_hash, walk.last_recorded_at = sequence, digest, from_micros(recorded_at)


def _check_postings(findings: Findings, row: str, postings: list[Row]) -> None:
    if [leg for _, leg, *_ in postings] != list(range(len(postings))):
        findings.add("postings", row, "leg", "is not counted from 0 without gaps.")
    sums: dict[str, int] = defaultdict(int)
    for _, leg, amount, _, currency in postings:
        if currency is None:
            findings.add("postings", f"{row} leg {leg}", "account_id", "names no account.")
            continue
        sums[currency.decode(errors="replace")] += amount
    for currency, total in sums.items():
        if total:
            findings.add("postings", row, "amount", f"sums to {total} {currency} over the record and not to zero.")


def _count(findings: Findings, walk: JournalWalk, row: str, record: Row) -> None:
    """Count what the record made, by what it says that it left behind."""
    walk.records += 1
    with findings.unreadable("records", row, "state_after"):
        kind, state = RecordKind(record[1].decode()), decode_state_after(record[7])
        walk.accounts_opened += state.account is not None
        if kind is RecordKind.CAPTURE:
            walk.legs_made += len(state.capture_legs)
        if state.hold is None:
            return
        walk.holds_made += kind is RecordKind.RESERVE or state.hold.state is HoldState.TOMBSTONE
        if state.hold.hold_id.bytes != record[5]:
            findings.add("records", row, "hold_id", "is another than that of the hold in state_after.")
