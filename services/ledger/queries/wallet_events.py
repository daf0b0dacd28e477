"""A wallet's events after a sequence: how a client that was away catches up.

They are read from the outbox, where the relay leaves them for a while after it published them.
"""

from dataclasses import dataclass
from uuid import UUID

from services.ledger.queries.book import Book
from services.runtime.database.port import Row

LAST_SEQUENCE_OF_WALLET = "SELECT event_sequence FROM wallets WHERE book_id = $1 AND wallet_id = $2"
"""The newest sequence that the wallet was given. Locks nothing."""

EVENTS_OF_WALLET = """
SELECT key_sequence, payload FROM outbox
WHERE stream = $1 AND message_key = $2 AND key_sequence > $3
ORDER BY key_sequence
LIMIT $4
"""
"""Kept events of one wallet in order, by the index on the key. Locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletEventsPage:
    """Events without a gap, as they were published (Protobuf `WalletEvent`)."""

    payloads: tuple[bytes, ...]
    last_sequence: int
    reload_required: bool


async def wallet_events_after(book: Book, wallet_id: UUID, *, after_sequence: int, events_max: int) -> WalletEventsPage:
    """Read the events that follow a sequence.

    `reload_required` says that the next event is no longer kept, or that the caller claims a sequence that the wallet
    has not reached; no events come with it.
    """
    async with book.database.snapshot() as connection:
        newest = await connection.fetch(LAST_SEQUENCE_OF_WALLET, book.book_id, wallet_id.bytes)
        rows = await connection.fetch(
            EVENTS_OF_WALLET, book.stream.encode(), str(wallet_id).encode(), after_sequence, events_max
        )
    last_sequence = newest[0][0] if newest else 0
    if _has_gap(rows, after_sequence, last_sequence, events_max):
        return WalletEventsPage(payloads=(), last_sequence=last_sequence, reload_required=True)
    payloads = tuple(payload for _, payload in rows)
    return WalletEventsPage(payloads=payloads, last_sequence=last_sequence, reload_required=False)


def _has_gap(rows: list[Row], after_sequence: int, last_sequence: int, events_max: int) -> bool:
    """Tell whether the rows are other than the ones that must follow `after_sequence`."""
    expected_count = min(last_sequence - after_sequence, events_max)
    expected = range(after_sequence + 1, after_sequence + 1 + expected_count)
    return expected_count < 0 or [key_sequence for key_sequence, _ in rows] != list(expected)
