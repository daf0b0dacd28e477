"""A wallet's events after a sequence: how a client that was away catches up.

They are read from the outbox, where the relay leaves them for a while after it published them, backwards from the
wallet's newest: each event knows where the one before it is.
"""

from dataclasses import dataclass
from uuid import UUID

from services.ledger.outbound.wallet_event_encoding import wallet_message_of
from services.ledger.queries.book import Book
from services.runtime.database.port import Connection
from services.runtime.outbox import HISTORY_EVENTS_MAX, read_by_key

NEWEST_EVENT_OF_WALLET = """
SELECT MAX(b.event_sequence), MAX(b.event_position)
FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
WHERE a.book_id = $1 AND a.wallet_id = $2
"""
"""The newest number that the wallet was given and its place in the outbox; both rise together. Locks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletEventsPage:
    """Events without a gap, as they were published (Protobuf `WalletEvent`)."""

    payloads: tuple[bytes, ...]
    last_sequence: int
    reload_required: bool


async def wallet_events_after(book: Book, wallet_id: UUID, *, after_sequence: int, events_max: int) -> WalletEventsPage:
    """Read the events that follow a sequence.

    `reload_required` says that the next event is no longer kept or more than `HISTORY_EVENTS_MAX` behind, or that the
    caller claims a sequence that the wallet has not reached; no events come with it.
    """
    async with book.database.snapshot() as connection:
        ((newest_sequence, newest_position),) = await connection.fetch(
            NEWEST_EVENT_OF_WALLET, book.book_id, wallet_id.bytes
        )
        last_sequence = newest_sequence or 0
        missed = last_sequence - after_sequence
        if 0 < missed <= HISTORY_EVENTS_MAX:
            history = await _history(connection, book, wallet_id, newest_position, after_sequence)
        else:
            history = [] if missed == 0 else None
    return WalletEventsPage(
        payloads=tuple((history or [])[:events_max]), last_sequence=last_sequence, reload_required=history is None
    )


async def _history(
    connection: Connection, book: Book, wallet_id: UUID, newest_position: int, after_sequence: int
) -> list[bytes] | None:
    """Read the payloads of all events after a sequence; None when one is missing."""
    history = await read_by_key(
        connection,
        book.stream,
        str(wallet_id).encode(),
        newest_position=newest_position,
        after_key_sequence=after_sequence,
    )
    return [wallet_message_of(event).value for event in history.events] if history.is_complete else None
