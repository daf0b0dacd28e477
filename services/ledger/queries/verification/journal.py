"""The journal, record by record: no gap, chained hashes, postings that are covered by them and sum to zero."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from services.ledger.domain.hold import HoldState
from services.ledger.domain.journal import GENESIS_HASH, RecordKind
from services.ledger.domain.keys import key_hash_of
from services.ledger.domain.merkle import merkle_root
from services.ledger.domain.proof import details_hash, record_hash
from services.ledger.domain.state_after import decode_state_after
from services.ledger.queries.verification.findings import Findings
from services.runtime.database.port import Connection, Row
from services.runtime.turns import Rest, in_turns, one_turn

PAGE_RECORDS = 500
"""Records read at once: with their postings a few hundred KiB."""

RECORDS_PAGE = """
SELECT sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, service, idempotency_key,
    fingerprint_version, fingerprint, state_after, metadata, postings_root, hash
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

RECORD_BEFORE_ALL = "SELECT sequence FROM records WHERE book_id = $1 AND sequence < 1 ORDER BY sequence LIMIT 1"
"""A record that no chain covers, and whose key would answer all the same."""

LIMITS_OF_ACCOUNTS = "SELECT account_id, limit_sequence FROM balances WHERE book_id = $1 AND account_id IN ($in)"
"""Which records accounts name as those that set their limits."""

RECORD_BEFORE = "SELECT hash, recorded_at FROM records WHERE book_id = $1 AND sequence = $2"
"""What the walk is chained to when it doesn't start at 1."""

Progress = Callable[[int, int], None]
"""Is told the sequence that was reached, and the last one."""


@dataclass(slots=True, kw_only=True)
class JournalWalk:
    """Where the walk is, and what it counted."""

    last_sequence: int
    last_hash: bytes = GENESIS_HASH
    last_recorded_at_micros: int = 0
    records: int = 0
    keys: int = 0
    postings: int = 0
    backdated: int = 0
    reversals: int = 0
    accounts_opened: int = 0
    holds_made: int = 0
    legs_made: int = 0
    limits: dict[int, int] = field(default_factory=dict)
    """The newest record of the page that set an account's limit, by account id."""


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
    walk = await begin_journal(connection, findings, book_id, from_sequence)
    while await check_records(connection, findings, book_id, walk, records_max=PAGE_RECORDS):
        progress(walk.last_sequence, max(head_sequence, walk.last_sequence))
    for (sequence,) in await connection.fetch(RECORD_BEFORE_ALL, book_id):
        findings.add("records", f"sequence {sequence}", "sequence", "is before the first one.")
    for sequence, leg in await connection.fetch(POSTINGS_BEYOND, book_id, walk.last_sequence):
        findings.add("postings", f"sequence {sequence} leg {leg}", "sequence", "belongs to no record.")
    return walk


async def check_records(
    connection: Connection,
    findings: Findings,
    book_id: int,
    walk: JournalWalk,
    *,
    records_max: int,
    rest: Rest = one_turn,
) -> int:
    """Check the next records of a walk, with a rest after every few, and return how many there were."""
    first_after = walk.last_sequence
    records = await connection.fetch(RECORDS_PAGE, book_id, first_after, records_max)
    if not records:
        return 0
    postings = _by_record(await connection.fetch(POSTINGS_OF_RECORDS, book_id, first_after, records[-1][0]))
    async for record in in_turns(records, rest=rest):
        _check_record(findings, book_id, walk, record, postings.pop(record[0], []))
    for sequence in postings:
        findings.add("postings", f"sequence {sequence}", "sequence", "belongs to no record.")
    await _check_limits(connection, findings, book_id, walk)
    return len(records)


async def _check_limits(connection: Connection, findings: Findings, book_id: int, walk: JournalWalk) -> None:
    """Check that no account names an older record than the page has; that the named one says so, accounts tell."""
    for account_id, limit_sequence in await connection.fetch_in(LIMITS_OF_ACCOUNTS, list(walk.limits), book_id):
        if limit_sequence < walk.limits[account_id]:
            row, newest = f"account {account_id}", walk.limits[account_id]
            findings.add("balances", row, "limit_sequence", f"is {limit_sequence}, and {newest} set the limit.")
    walk.limits.clear()


async def begin_journal(connection: Connection, findings: Findings, book_id: int, from_sequence: int) -> JournalWalk:
    """Begin a walk at a record; the one before it is believed."""
    walk = JournalWalk(last_sequence=from_sequence - 1)
    if from_sequence == 1:
        return walk
    before = await connection.fetch(RECORD_BEFORE, book_id, walk.last_sequence)
    if not before:
        findings.add("records", f"sequence {walk.last_sequence}", "sequence", "is missing.")
        return walk
    walk.last_hash, walk.last_recorded_at_micros = before[0]
    return walk


def _by_record(postings: Iterable[Row]) -> dict[int, list[Row]]:
    return {sequence: list(rows) for sequence, rows in groupby(postings, key=lambda row: row[0])}


def _check_record(findings: Findings, book_id: int, walk: JournalWalk, record: Row, postings: list[Row]) -> None:
    sequence, recorded_at, digest = record[0], record[2], record[-1]
    row = f"sequence {sequence}"
    if sequence != walk.last_sequence + 1:
        findings.add("records", row, "sequence", f"follows {walk.last_sequence}: records are missing in between.")
    if recorded_at <= walk.last_recorded_at_micros:
        findings.add("records", row, "recorded_at", "is not after the record before it.")
    _check_postings(findings, row, postings)
    with findings.unreadable("records", row, "hash"):
        _check_hash(findings, book_id, walk.last_hash, record, [posting[3] for posting in postings])
    with findings.unreadable("records", row, "idempotency_key"):
        walk.keys += _check_key(findings, row, record)
    _count(findings, walk, row, record, len(postings))
    walk.last_sequence, walk.last_hash, walk.last_recorded_at_micros = sequence, digest, recorded_at


def _check_hash(findings: Findings, book_id: int, previous_hash: bytes, record: Row, leaves: list[bytes]) -> None:
    sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, _, _, *rest = record
    fingerprint_version, fingerprint, state_after, metadata, root, digest = rest
    row = f"sequence {sequence}"
    if merkle_root(leaves) != root:
        findings.add("records", row, "postings_root", "is not the root of the record's postings.")
    expected = record_hash(
        book_id=book_id,
        sequence=sequence,
        kind=kind,
        hold_id=hold_id,
        recorded_at_micros=recorded_at,
        effective_at_micros=effective_at,
        details_hash=details_hash(
            record_id=record_id,
            key_hash=key_hash,
            fingerprint_version=fingerprint_version,
            fingerprint=fingerprint,
            state_after=state_after,
            metadata=metadata,
        ),
        postings_root=root,
        previous_hash=previous_hash,
    )
    if expected != digest:
        findings.add("records", row, "hash", "does not fit the record and the one before it: one was changed.")


def _check_key(findings: Findings, row: str, record: Row) -> bool:
    """Check that the record's key is the one it was made under, and tell whether it has one."""
    key_hash, service, key, _, fingerprint = record[6:11]
    if service is None and key is None and fingerprint is None:
        return False
    if None in (service, key, fingerprint):
        findings.add("records", row, "idempotency_key", "lacks a part: its service, itself or its fingerprint.")
    elif key_hash_of(service.decode(), key.decode()) != key_hash:
        findings.add("records", row, "idempotency_key", "is not the one that the record was made under.")
    return True


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


def _count(findings: Findings, walk: JournalWalk, row: str, record: Row, postings: int) -> None:
    """Count what the record made, by what it says that it left behind."""
    walk.records += 1
    walk.postings += postings
    if record[3] != record[2]:
        walk.backdated += postings
    with findings.unreadable("records", row, "state_after"):
        kind, state = RecordKind(record[1].decode()), decode_state_after(record[11])
        walk.accounts_opened += kind is RecordKind.ACCOUNT_OPENED
        walk.reversals += state.reverses != 0
        if kind is RecordKind.LIMIT_SET and state.account is not None:
            walk.limits[state.account.account_id] = record[0]
        if kind is RecordKind.CAPTURE:
            walk.legs_made += len(state.capture_legs)
        if state.hold is None:
            return
        walk.holds_made += kind is RecordKind.RESERVE or state.hold.state is HoldState.TOMBSTONE
        if state.hold.hold_id.bytes != record[5]:
            findings.add("records", row, "hold_id", "is another than that of the hold in state_after.")
