"""The ledger's invariants, read from its tables and computed anew: what must hold after any test, fault or load.

It shares no query with the ledger. `assert_money_is_conserved` names every broken rule at once.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from uuid import UUID

import msgspec

from services.ledger.domain.journal import GENESIS_HASH, Posting
from services.ledger.domain.merkle import merkle_root
from services.ledger.domain.proof import details_hash, posting_hash, record_hash
from services.money import AMOUNT_MINOR_MAX
from services.runtime.database.port import Connection, Database, Row

_ACTIVE = (b"open", b"committed")


async def assert_money_is_conserved(world: Database | Connection, *, book_id: int = 1) -> None:
    """Check the whole book; the message names what is broken."""
    if hasattr(world, "snapshot"):
        async with world.snapshot() as connection:
            await assert_money_is_conserved(connection, book_id=book_id)
        return
    broken = [finding async for finding in _findings(world, book_id)]
    assert not broken, "\n".join(broken)


async def _findings(connection: Connection, book_id: int) -> AsyncIterator[str]:
    book = _Book(connection, book_id)
    await book.load()
    for check in (_balances, _postings, _holds, _chain, _keys, _events):
        for finding in check(book):
            yield f"{check.__name__.strip('_')}: {finding}"


class _Book:
    """All rows of a book."""

    def __init__(self, connection: Connection, book_id: int) -> None:
        self.connection = connection
        self.book_id = book_id

    async def load(self) -> None:
        fetch = self.connection.fetch
        heads = await fetch(
            "SELECT last_sequence, last_hash, last_recorded_at, last_event_sequence FROM books WHERE book_id = $1",
            self.book_id,
        )
        self.last_sequence, self.last_hash, self.last_recorded_at, self.last_event_sequence = heads[0]
        self.accounts = {
            row[0]: row
            for row in await fetch(
                "SELECT a.account_id, a.currency, a.wallet_id, b.debits_posted, b.credits_posted, b.debits_pending, "
                "b.credits_pending, b.overdraft_limit, b.account_sequence, b.last_posting_hash, b.event_sequence, "
                "b.event_position "
                "FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id "
                "WHERE a.book_id = $1",
                self.book_id,
            )
        }
        self.records = await fetch(
            "SELECT sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, state_after, metadata, "
            "postings_root, hash, fingerprint_version, fingerprint FROM records WHERE book_id = $1 ORDER BY sequence",
            self.book_id,
        )
        self.postings: dict[int, list[Row]] = defaultdict(list)
        for row in await fetch(
            "SELECT sequence, leg, account_id, account_sequence, amount, balance_after, salt, hash "
            "FROM postings WHERE book_id = $1 ORDER BY sequence, leg",
            self.book_id,
        ):
            self.postings[row[0]].append(row)
        await self._load_rest()

    async def _load_rest(self) -> None:
        fetch = self.connection.fetch
        self.holds = await fetch(
            "SELECT hold_id, account_id, state, held, captured, voided, refunded, expires_at FROM holds "
            "WHERE book_id = $1",
            self.book_id,
        )
        self.expiries = await fetch("SELECT expires_at, hold_id FROM hold_expiries WHERE book_id = $1", self.book_id)
        self.legs = await fetch(
            "SELECT hold_id, gross, fee, gross_refunded, fee_returned FROM capture_legs WHERE book_id = $1",
            self.book_id,
        )
        self.accepted_keys = await fetch(
            "SELECT service, idempotency_key, sequence FROM records "
            "WHERE book_id = $1 AND idempotency_key IS NOT NULL ORDER BY sequence",
            self.book_id,
        )
        self.answered_keys = await fetch(
            "SELECT service, idempotency_key FROM idempotency_keys WHERE book_id = $1", self.book_id
        )
        self.packs = await fetch(
            "SELECT sequence, first_sequence, payload FROM outbox WHERE stream = $1 ORDER BY sequence",
            f"book:{self.book_id}".encode(),
        )


def _balances(book: _Book) -> Iterator[str]:
    """Invariants 1 and 2: all balances of an asset sum to zero, and no account is overdrawn."""
    totals: dict[bytes, int] = defaultdict(int)
    for account_id, currency, _, debits, credits_, debits_pending, _, limit, *_ in book.accounts.values():
        totals[currency] += credits_ - debits
        if credits_ - debits - debits_pending + limit < 0:
            yield f"account {account_id} has {credits_ - debits - debits_pending} available"
        if abs(credits_ - debits) > AMOUNT_MINOR_MAX:
            yield f"account {account_id} holds too much"
    yield from (f"{currency!r} sums to {total}" for currency, total in totals.items() if total)


def _postings(book: _Book) -> Iterator[str]:
    """Invariant 1: entries sum to zero per asset; running balances and sequences lead to the balances."""
    balance: dict[int, int] = defaultdict(int)
    sequence: dict[int, int] = defaultdict(int)
    turnover: dict[tuple[int, bool], int] = defaultdict(int)
    for record, legs in book.postings.items():
        sums: dict[bytes, int] = defaultdict(int)
        for _, leg, account_id, account_sequence, amount, balance_after, *_ in legs:
            sums[book.accounts[account_id][1]] += amount
            balance[account_id] += amount
            sequence[account_id] += 1
            turnover[account_id, amount > 0] += abs(amount)
            if (sequence[account_id], balance[account_id]) != (account_sequence, balance_after):
                yield f"posting {record}/{leg} does not follow its account's last one"
        yield from (f"record {record} sums to {total} {currency!r}" for currency, total in sums.items() if total)
    for account_id, row in book.accounts.items():
        computed = (turnover[account_id, False], turnover[account_id, True], sequence[account_id])
        if computed != (row[3], row[4], row[8]):
            yield f"account {account_id} differs from its postings"


def _holds(book: _Book) -> Iterator[str]:
    """Invariants 3 and 5: pending = what open holds have left; captures and refunds add up."""
    pending: dict[int, int] = defaultdict(int)
    legs: dict[bytes, list[int]] = defaultdict(lambda: [0, 0])
    for hold_id, gross, fee, gross_refunded, fee_returned in book.legs:
        legs[hold_id][0] += gross
        legs[hold_id][1] += gross_refunded
        if not (0 <= fee <= gross and 0 <= gross_refunded <= gross and 0 <= fee_returned <= fee):
            yield f"a leg of {hold_id.hex()} is out of bounds"
    for hold_id, account_id, state, held, captured, voided, refunded, _ in book.holds:
        remaining = held - captured - voided
        pending[account_id] += remaining
        if remaining < 0 or (remaining > 0) != (state in _ACTIVE):
            yield f"hold {hold_id.hex()} is {state!r} with {remaining} left"
        if [captured, refunded] != legs[hold_id] or refunded > captured:
            yield f"hold {hold_id.hex()} differs from its captures"
    for account_id, row in book.accounts.items():
        if (row[5], row[6]) != (pending[account_id], 0):
            yield f"account {account_id} has {row[5]} pending, its holds {pending[account_id]}"
    due = {(row[7], row[0]) for row in book.holds if row[2] == b"open"}
    # Rows stay behind for holds that were committed or ended before their time.
    if not due <= set(book.expiries):
        yield "an open hold is missing in the queue of expiries"


def _chain(book: _Book) -> Iterator[str]:
    """Invariant 7: every hash is what it should be."""
    previous, recorded_before = GENESIS_HASH, -1
    tails: dict[int, bytes] = {}
    for expected, record in enumerate(book.records, start=1):
        sequence, recorded_at = record[0], record[2]
        if sequence != expected or recorded_at <= recorded_before:
            yield f"record {sequence} is out of order"
        leaves = list(_posting_hashes(book, sequence, tails))
        if leaves != [row[7] for row in book.postings[sequence]]:
            yield f"a posting of record {sequence} was changed"
        previous = _hash_of(book, record, previous, merkle_root(leaves))
        if previous != record[10]:
            yield f"record {sequence} was changed"
        recorded_before = recorded_at
    if (len(book.records), previous) != (book.last_sequence, book.last_hash):
        yield "the head is not the last record"
    if recorded_before > book.last_recorded_at:
        yield "the head's time is before the last record's"
    for account_id, row in book.accounts.items():
        if tails.get(account_id, GENESIS_HASH) != row[9]:
            yield f"account {account_id} does not end with its last posting"


def _posting_hashes(book: _Book, sequence: int, tails: dict[int, bytes]) -> Iterator[bytes]:
    for _, leg, account_id, account_sequence, amount, balance_after, salt, _ in book.postings[sequence]:
        tails[account_id] = posting_hash(
            book_id=book.book_id,
            sequence=sequence,
            leg=leg,
            posting=Posting(account_id, account_sequence, amount, balance_after),
            salt=salt,
            previous_hash=tails.get(account_id, GENESIS_HASH),
        )
        yield tails[account_id]


def _hash_of(book: _Book, record: Row, previous: bytes, root: bytes) -> bytes:
    sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, state_after, metadata, *_ = record
    return record_hash(
        book_id=book.book_id,
        sequence=sequence,
        kind=kind,
        hold_id=hold_id,
        recorded_at_micros=recorded_at,
        effective_at_micros=effective_at,
        details_hash=details_hash(
            record_id=record_id,
            key_hash=key_hash,
            fingerprint_version=record[11],
            fingerprint=record[12],
            state_after=state_after,
            metadata=metadata,
        ),
        postings_root=root,
        previous_hash=previous,
    )


def _keys(book: _Book) -> Iterator[str]:
    """Invariant 4: an accepted key names its own effect, and no key has two answers."""
    key_hashes = {row[0]: row[6] for row in book.records}
    for service, key, sequence in book.accepted_keys:
        lengths = [len(part).to_bytes(4, "big") + part for part in (service, key)]
        if key_hashes[sequence] != sha256(b"".join(lengths)).digest():
            yield f"key {key!r} names record {sequence} wrongly"
    answers = Counter([(service, key) for service, key, *_ in [*book.accepted_keys, *book.answered_keys]])
    yield from (f"key {key!r} has {count} answers" for key, count in answers.items() if count > 1)


def _events(book: _Book) -> Iterator[str]:
    """Invariant 8: the stream and each wallet's events are numbered without a gap, and each names the one before it.

    Where old packs were pruned, the first that are kept go on from what is gone.
    """
    newest: dict[bytes, tuple[int, int]] = {}
    position = book.packs[0][1] - 1 if book.packs else book.last_event_sequence
    pruned = position > 0
    for sequence, first_sequence, payload in book.packs:
        events = msgspec.msgpack.decode(payload)
        if (first_sequence, sequence) != (position + 1, position + len(events)):
            yield "the stream has a gap"
        for position, event in enumerate(events, start=first_sequence):
            _, key, key_sequence, previous_position, *_ = event
            # A wallet without any account has no numbers: only refusals are told to it.
            if key_sequence == 0 and key not in newest:
                continue
            before = newest.get(key, (key_sequence - 1, previous_position) if pruned else (0, 0))
            if (key_sequence - 1, previous_position) != before:
                yield f"wallet {key!r} has a gap before {key_sequence}"
            newest[key] = (key_sequence, position)
    if position != book.last_event_sequence:
        yield "the stream has a gap"
    wallets: dict[bytes, tuple[int, int]] = {}
    for _, _, wallet_id, *_, event_sequence, event_position in book.accounts.values():
        key = str(UUID(bytes=wallet_id)).encode() if wallet_id is not None else b""
        if key and event_sequence and (key in newest or not pruned):
            wallets[key] = max(wallets.get(key, (0, 0)), (event_sequence, event_position))
    if newest != wallets:
        yield "the wallets' sequences differ from their events"
