"""Events and answers: events numbered and linked without a gap as far as they are kept, answers as they were given."""

from collections.abc import AsyncIterator
from uuid import UUID
from zlib import crc32

from msgspec import MsgspecError

from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.stored_rows import answer_hash
from services.ledger.queries.verification.findings import Findings, Told
from services.runtime.database.port import Connection, Row
from services.runtime.outbox import DamagedPackError, Pack, read_by_key
from services.runtime.outbox_packs import pack_of_row

PAGE_ROWS = 500
"""Rows read at once."""

PAGE_PACKS = 32
"""Packs read at once: 2,048 events at most."""

WALLETS_OF_WALK = 200_000
"""Wallets whose newest event is remembered during one walk over the events, some 50 MB; more take several walks."""

PUBLISHED_EXTENT = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"
"""Up to where events were published; only those may be pruned."""

PACKS_PAGE = """
SELECT sequence, first_sequence, payload FROM outbox WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""
"""Packs in order."""

WALLETS_PAGE = """
SELECT a.wallet_id, MAX(b.event_sequence), MAX(b.event_position)
FROM accounts a LEFT JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.wallet_id > $2
GROUP BY a.wallet_id
ORDER BY a.wallet_id
LIMIT $3
"""
"""Wallets in order of their ids, by the index on them, each with its newest event's number and place."""

OLDER_EVENTS_OF_WALLETS = """
SELECT o.wallet_id, o.account_id, o.event_sequence, o.event_position
FROM (
    SELECT a.wallet_id, a.account_id, b.event_sequence, b.event_position,
        MAX(b.event_sequence) OVER (PARTITION BY a.wallet_id) AS newest
    FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
    WHERE a.book_id = $1 AND a.wallet_id IN ($in)
) o
WHERE o.event_sequence < o.newest AND o.event_position >= $2
ORDER BY o.account_id
"""
"""Of wallets with several accounts, those that don't carry the newest event, where the event they carry is kept."""

ANSWERS_OF_SERVICE = """
SELECT k.book_id, k.service, k.idempotency_key, k.fingerprint_version, k.fingerprint, k.reason, k.message, k.details,
    k.hold_id, k.recorded_at, k.hash, r.sequence
FROM idempotency_keys k
LEFT JOIN records r ON r.book_id = k.book_id AND r.service = k.service AND r.idempotency_key = k.idempotency_key
WHERE k.book_id = $1 AND k.service = $2 AND k.idempotency_key > $3
ORDER BY k.idempotency_key
LIMIT $4
"""
"""More answers without a record of one service, by primary key, and the record that has the same key all the same."""

ANSWERS_OF_LATER_SERVICES = """
SELECT k.book_id, k.service, k.idempotency_key, k.fingerprint_version, k.fingerprint, k.reason, k.message, k.details,
    k.hold_id, k.recorded_at, k.hash, r.sequence
FROM idempotency_keys k
LEFT JOIN records r ON r.book_id = k.book_id AND r.service = k.service AND r.idempotency_key = k.idempotency_key
WHERE k.book_id = $1 AND k.service > $2
ORDER BY k.service, k.idempotency_key
LIMIT $3
"""
"""Those of the services that follow, by primary key."""

Newest = tuple[int, int]
"""A wallet's newest event: its number and its place in the stream."""


async def check_events(
    connection: Connection, findings: Findings, told: Told, *, book_id: int, last_event_sequence: int, accounts: int
) -> int:
    """Check the stream and the wallets' sequences; return the number of wallets.

    Args:
        connection: Where they are.
        findings: Is told what is wrong.
        told: Is told of the events.
        book_id: Whose.
        last_event_sequence: The last one, as the book says.
        accounts: How many there are: at least as many as wallets.
    """
    stream = stream_of(book_id)
    published = await connection.fetch(PUBLISHED_EXTENT, stream.encode())
    published_sequence = published[0][0] if published else 0
    walks = accounts // WALLETS_OF_WALK + 1
    wallets = 0
    for walk in range(walks):
        part = _Part(findings, stream, number=walk, parts=walks)
        async for pack in _packs(connection, findings, stream, tells=walk == 0):
            part.take(pack)
            told(pack.sequence)
        if walk == 0:
            _check_extent(findings, part, published_sequence, last_event_sequence)
        # Where nothing is left, all of it may be: the extent was compared with what was published.
        kept_from = part.first_sequence or last_event_sequence + 1
        wallets += await part.compare(connection, book_id, kept_from)
        if walk == 0:
            await _check_older_events(connection, findings, book_id, kept_from)
    return wallets


async def _packs(connection: Connection, findings: Findings, stream: str, *, tells: bool) -> AsyncIterator[Pack]:
    after = -1
    while rows := await connection.fetch(PACKS_PAGE, stream.encode(), after, PAGE_PACKS):
        for row in rows:
            try:
                yield pack_of_row(row)
            except DamagedPackError as error:
                if tells:
                    findings.add("outbox", f"stream {stream} sequence {row[0]}", "payload", f"{error}.")
        after = rows[-1][0]


def _check_extent(findings: Findings, part: "_Part", published_sequence: int, last_event_sequence: int) -> None:
    row = f"stream {part.stream}"
    if published_sequence > last_event_sequence:
        told = f"is {published_sequence}: events behind {last_event_sequence} would never be published."
        findings.add("outbox_relays", row, "cursor_sequence", told)
    gone = part.first_sequence - 1 if part.first_sequence else last_event_sequence
    if gone > published_sequence:
        findings.add("outbox", row, "sequence", f"{gone} are gone, and not all of them were published.")
    if part.first_sequence and part.last_sequence != last_event_sequence:
        findings.add("outbox", row, "sequence", f"runs to {part.last_sequence} of {last_event_sequence}.")


class _Part:
    """A part of the wallets: their newest events, as a walk over the stream finds them."""

    def __init__(self, findings: Findings, stream: str, *, number: int, parts: int) -> None:
        self._findings = findings
        self._number = number
        self._parts = parts
        self._newest: dict[bytes, Newest] = {}
        self.stream = stream
        self.first_sequence = 0
        self.last_sequence = 0

    def take(self, pack: Pack) -> None:
        """Follow the events of one pack."""
        if not self.first_sequence:
            self.first_sequence = pack.first_sequence
        elif pack.first_sequence != self.last_sequence + 1 and self._number == 0:
            row = f"stream {self.stream} sequence {pack.sequence}"
            self._findings.add("outbox", row, "first_sequence", f"is {pack.first_sequence} after {self.last_sequence}.")
        for position, event in enumerate(pack.events, start=pack.first_sequence):
            if self._is_mine(event.key):
                self._follow(event.key, (event.key_sequence, position), event.previous_position)
        self.last_sequence = pack.sequence

    def _is_mine(self, key: bytes) -> bool:
        return self._parts == 1 or crc32(key) % self._parts == self._number

    def _follow(self, key: bytes, event: Newest, previous_position: int) -> None:
        key_sequence, position = event
        before = self._newest.get(key)
        if before is None and key_sequence == 0:
            return  # the wallet has no account: what it is told has no number
        if before is None:
            # Those before it may be pruned, and then lie before all that is kept.
            is_linked = previous_position < self.first_sequence and (previous_position == 0) == (key_sequence == 1)
        else:
            is_linked = (key_sequence - 1, previous_position) == before
        if not is_linked:
            row = f"stream {self.stream} sequence {position}"
            told = f"{key_sequence} of {key.decode(errors='replace')} doesn't follow the wallet's event before it."
            self._findings.add("outbox", row, "key_sequence", told)
        self._newest[key] = event

    async def compare(self, connection: Connection, book_id: int, kept_from: int) -> int:
        """Compare what the balances say with the newest events, and return the number of wallets in this part."""
        wallets = 0
        async for wallet_id, event_sequence, event_position in _wallets(connection, book_id):
            key = str(UUID(bytes=wallet_id)).encode()
            if not self._is_mine(key):
                continue
            wallets += 1
            said = (event_sequence or 0, event_position or 0)
            newest = self._newest.pop(key, None)
            is_pruned = newest is None and said[1] < kept_from
            if newest != said and not is_pruned:
                row = f"wallet {key.decode()}"
                self._findings.add("balances", row, "event_sequence", f"and position are {said}, and not {newest}.")
        for key in self._newest:
            row = f"wallet {key.decode(errors='replace')}"
            self._findings.add("outbox", row, "key", "has events and no account.")
        return wallets


async def _check_older_events(connection: Connection, findings: Findings, book_id: int, kept_from: int) -> None:
    """Check accounts that don't carry their wallet's newest event: the one that they do carry is where they say."""
    after = b""
    while page := await connection.fetch(WALLETS_PAGE, book_id, after, PAGE_ROWS):
        wallet_ids = [row[0] for row in page]
        for row in await connection.fetch_in(OLDER_EVENTS_OF_WALLETS, wallet_ids, book_id, kept_from):
            await _check_older_event(connection, findings, stream_of(book_id), row)
        after = wallet_ids[-1]


async def _check_older_event(connection: Connection, findings: Findings, stream: str, row: Row) -> None:
    wallet_id, account_id, event_sequence, position = row
    try:
        history = await read_by_key(
            connection,
            stream,
            str(UUID(bytes=wallet_id)).encode(),
            newest_position=position,
            after_key_sequence=event_sequence - 1,
            events_max=1,
        )
    except MsgspecError:
        return  # the pack is damaged, and named as such
    if [event.key_sequence for event in history.events] != [event_sequence]:
        told = f"{event_sequence} at {position} isn't the number and the place of an event of the wallet."
        findings.add("balances", f"account {account_id}", "event_sequence", told)


async def _wallets(connection: Connection, book_id: int) -> AsyncIterator[Row]:
    after = b""
    while page := await connection.fetch(WALLETS_PAGE, book_id, after, PAGE_ROWS):
        for row in page:
            yield row
        after = page[-1][0]


async def check_keys(connection: Connection, findings: Findings, told: Told, *, book_id: int) -> int:
    """Check the answers that made no record: unchanged, and their keys made none; return their number."""
    service, key, answers = b"", b"", 0
    while True:
        rows = await connection.fetch(ANSWERS_OF_SERVICE, book_id, service, key, PAGE_ROWS)
        if len(rows) < PAGE_ROWS:
            rows += await connection.fetch(ANSWERS_OF_LATER_SERVICES, book_id, service, PAGE_ROWS)
        if not rows:
            return answers
        for row in rows:
            _check_answer(findings, row)
        answers += len(rows)
        told(answers)
        service, key = rows[-1][1], rows[-1][2]


def _check_answer(findings: Findings, row: Row) -> None:
    *columns, digest, sequence = row
    name = f"key {row[2].hex()}"
    with findings.unreadable("idempotency_keys", name, "hash"):
        if answer_hash(*columns) != digest:
            findings.add("idempotency_keys", name, "hash", "does not fit the answer.")
    if sequence is not None:
        findings.add("idempotency_keys", name, "idempotency_key", f"made record {sequence} as well.")
