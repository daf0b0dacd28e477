"""Events and keys: wallets' sequences without a gap as far as they are kept, and keys that name their records."""

from collections.abc import AsyncIterator
from uuid import UUID

from services.ledger.domain.keys import key_hash_of
from services.ledger.outbound.book_writing import stream_of
from services.ledger.queries.verification.findings import Findings
from services.runtime.database.port import Connection, Row

PAGE_ROWS = 500
"""Rows read at once."""

OUTBOX_EXTENT = "SELECT MIN(sequence), MAX(sequence), COUNT(*) FROM outbox WHERE stream = $1"
"""Which events of the book are kept: old ones are pruned from the front."""

PUBLISHED_EXTENT = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"
"""Up to where events were published; only those may be pruned."""

WALLETS_PAGE = """
SELECT wallet_id, event_sequence FROM wallets WHERE book_id = $1 AND wallet_id > $2 ORDER BY wallet_id LIMIT $3
"""
"""Wallets in order of their ids."""

EVENTS_OF_WALLETS = """
SELECT message_key, MIN(key_sequence), MAX(key_sequence), COUNT(*) FROM outbox
WHERE stream = $1 AND message_key IN ($in)
GROUP BY message_key
"""
"""Which events of wallets are kept, by the index on the key."""

KEYS_OF_SERVICE = """
SELECT k.service, k.idempotency_key, k.sequence, r.key_hash
FROM idempotency_keys k LEFT JOIN records r ON r.book_id = k.book_id AND r.sequence = k.sequence
WHERE k.book_id = $1 AND k.service = $2 AND k.idempotency_key > $3
ORDER BY k.idempotency_key
LIMIT $4
"""
"""More keys of one service, by primary key, with the records that they name."""

KEYS_OF_LATER_SERVICES = """
SELECT k.service, k.idempotency_key, k.sequence, r.key_hash
FROM idempotency_keys k LEFT JOIN records r ON r.book_id = k.book_id AND r.sequence = k.sequence
WHERE k.book_id = $1 AND k.service > $2
ORDER BY k.service, k.idempotency_key
LIMIT $3
"""
"""Keys of the services that follow, by primary key."""


async def check_events(connection: Connection, findings: Findings, *, book_id: int, last_event_sequence: int) -> int:
    """Check the wallets' sequences and the outbox; return the number of wallets."""
    stream = stream_of(book_id)
    first, last, count = (await connection.fetch(OUTBOX_EXTENT, stream.encode()))[0]
    published = await connection.fetch(PUBLISHED_EXTENT, stream.encode())
    pruned = first - 1 if count else last_event_sequence
    if pruned > (published[0][0] if published else 0):
        findings.add(
            "outbox", f"stream {stream}", "sequence", f"{pruned} are gone, and not all of them were published."
        )
    if count and (last != last_event_sequence or last - first + 1 != count):
        findings.add(
            "outbox", f"stream {stream}", "sequence", f"runs to {last} of {last_event_sequence}, or has a gap."
        )
    wallets = events = 0
    async for page in _wallet_pages(connection, book_id):
        keys = [str(UUID(bytes=wallet_id)).encode() for wallet_id, _ in page]
        rows = await connection.fetch_in(EVENTS_OF_WALLETS, keys, stream.encode())
        kept = {key: numbers for key, *numbers in rows}
        for (_, event_sequence), key in zip(page, keys, strict=True):
            _check_wallet(findings, key.decode(), event_sequence, kept.get(key), is_whole=first == 1)
        wallets += len(page)
        events += sum(numbers[2] for numbers in kept.values())
    if events != count:
        findings.add("outbox", f"stream {stream}", "message_key", f"{count - events} events are of no wallet.")
    return wallets


async def check_keys(connection: Connection, findings: Findings, *, book_id: int) -> int:
    """Check that each key that made a record is the one the record was made under; return the number of keys."""
    service, key, keys = b"", b"", 0
    while True:
        rows = await connection.fetch(KEYS_OF_SERVICE, book_id, service, key, PAGE_ROWS)
        rows += (
            await connection.fetch(KEYS_OF_LATER_SERVICES, book_id, service, PAGE_ROWS) if len(rows) < PAGE_ROWS else []
        )
        if not rows:
            return keys
        for row in rows:
            _check_key(findings, row)
        keys += len(rows)
        service, key = rows[-1][0], rows[-1][1]


async def _wallet_pages(connection: Connection, book_id: int) -> AsyncIterator[list[Row]]:
    after = b""
    while page := await connection.fetch(WALLETS_PAGE, book_id, after, PAGE_ROWS):
        yield page
        after = page[-1][0]


def _check_wallet(
    findings: Findings, wallet_id: str, event_sequence: int, kept: list[int] | None, *, is_whole: bool
) -> None:
    row = f"wallet {wallet_id}"
    if kept is None:
        if is_whole and event_sequence:
            findings.add("outbox", row, "key_sequence", f"has none of {event_sequence} events, and none was pruned.")
        return
    first, last, count = kept
    if last != event_sequence:
        findings.add("wallets", row, "event_sequence", f"is {event_sequence}, and the newest event has {last}.")
    if last - first + 1 != count or (is_whole and first != 1):
        findings.add("outbox", row, "key_sequence", f"has a gap between {first} and {last}, or before.")


def _check_key(findings: Findings, row: Row) -> None:
    service, key, sequence, key_hash = row
    if not sequence:
        return
    with findings.unreadable("idempotency_keys", f"key {key.hex()}", "idempotency_key"):
        if key_hash_of(service.decode(), key.decode()) != key_hash:
            findings.add("idempotency_keys", f"key {key.hex()}", "sequence", f"{sequence} was made under another key.")
