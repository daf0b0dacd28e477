"""A stream of events in an outbox, for tests of whatever reads it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from services.runtime.broker.port import Message
from services.runtime.database.port import Database
from services.runtime.ids import new_id
from services.runtime.outbox import OutboxEvent, OutboxRelay, RelaySettings, append_numbered, read_packs
from tests.support.clock import START, VirtualClock

STREAM = "stream"
"""Its name."""

SETTINGS = RelaySettings(batch_events_max=4, lease_seconds=10, cursor_every_seconds=0, retention=None)
"""A relay that takes few events at once, and notes at each how far it is."""


def an_event(
    payload: str = "payload", *, key: str = "key", key_sequence: int = 0, previous_position: int = 0
) -> OutboxEvent:
    """Make an event."""
    return OutboxEvent(
        topic="topic",
        key=key.encode(),
        key_sequence=key_sequence,
        previous_position=previous_position,
        event_id=new_id(),
        event_type="ThingHappened",
        payload=payload.encode(),
        recorded_at=START,
    )


async def write(database: Database, *events: OutboxEvent) -> int:
    """Write events in one transaction, and tell the last one's number."""
    async with database.transaction() as connection:
        return await append_numbered(connection, STREAM, events)


async def write_one_by_one(database: Database, *events: OutboxEvent) -> None:
    """Write each event in a transaction, and so in a pack, of its own."""
    for event in events:
        await write(database, event)


async def write_numbers(database: Database, numbers: range) -> None:
    """Write an event for each number in one transaction, of three keys in turn."""
    await write(database, *(an_event(str(number), key=f"key-{number % 3}") for number in numbers))


async def events_of(database: Database, stream: str) -> list[tuple[int, OutboxEvent]]:
    """Read all events that a stream keeps, with their numbers."""
    async with database.snapshot() as connection:
        packs = await read_packs(connection, stream, after_sequence=0, events_max=1_000_000)
    return [numbered for pack in packs for numbered in enumerate(pack.events, start=pack.first_sequence)]


async def cursor_of(database: Database) -> int:
    """Tell up to where the stream is published."""
    async with database.snapshot() as connection:
        rows = await connection.fetch("SELECT cursor_sequence FROM outbox_relays")
    return int(rows[0][0]) if rows else 0


async def has_cursor(database: Database, sequence: int) -> bool:
    """Tell whether the stream is published up to a number."""
    return await cursor_of(database) == sequence


async def publish_all(relay: OutboxRelay) -> None:
    """Publish until nothing is left."""
    while await relay.publish_next():
        pass


def payloads(messages: list[Message]) -> list[str]:
    """Show what messages say."""
    return [message.value.decode() for message in messages]


def first_copies(messages: list[Message]) -> list[str]:
    """Show what messages say, each once."""
    return list(dict.fromkeys(payloads(messages)))


async def advance_until(clock: VirtualClock, reached: Callable[[], object]) -> None:
    """Let time pass for a running relay until something is so."""
    give_up_at = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < give_up_at
        await clock.advance(1)
        await asyncio.sleep(0.001)


async def stopped(task: asyncio.Task[None]) -> None:
    """End a running relay."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
