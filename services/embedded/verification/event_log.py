"""Invariant 6: what a service's outbox says was published is in the event log, in its order.

A relay publishes its stream in order, and after a crash some of it again. So the first appearances in each partition
must be the outbox's events in their order, and none may be missing; everything in between must be a repetition.
"""

import hashlib
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Message, ReceivedMessage
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.dead_letters import DISCARDED, REASON_HEADER, SETTLED_HEADER, OutstandingLetters
from services.runtime.errors import InvalidArgumentError
from services.runtime.outbox import OutboxEvent, read_packs
from services.runtime.registry.wire_format import payload_of

ROWS_A_PAGE = 1_000
"""Events of an outbox, read at once."""

_CURSOR = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"

_LAST = "SELECT MAX(sequence) FROM outbox WHERE stream = $1"

# Where each event appeared first. The database is a file without a name: memory doesn't grow with the log.
_CREATE_FIRSTS = """
    CREATE TABLE firsts (event_id TEXT PRIMARY KEY, topic_partition INTEGER, topic_offset INTEGER, digest BLOB)
    WITHOUT ROWID
"""

_ADD_FIRST = "INSERT OR IGNORE INTO firsts VALUES (?, ?, ?, ?)"

_READ_FIRST = "SELECT topic_partition, topic_offset, digest FROM firsts WHERE event_id = ?"


class EventLog(Protocol):
    """A broker, as a check reads it: it joins no group and changes nothing."""

    async def topics(self) -> Sequence[str]:
        """List all topics."""
        ...

    async def forgetful_partitions(self, topic: str) -> frozenset[int]:
        """List the partitions whose first messages are not kept any more."""
        ...

    def messages(self, topic: str) -> AsyncIterator[ReceivedMessage]:
        """Read what each partition holds now, in its order."""
        ...

    async def backlog(self) -> int:
        """Count what was published and not handled yet, over all groups."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Where one service writes its events, and where they go."""

    database_url: str
    name: str
    topic: str
    message_of: Callable[[OutboxEvent], Message] = OutboxEvent.to_message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """An event of an outbox."""

    sequence: int
    message: Message

    @property
    def event_id(self) -> str:
        return self.message.headers["event-id"]

    def __str__(self) -> str:
        return f"{self.event_id} (number {self.sequence})"


@dataclass(frozen=True, slots=True)
class _First:
    """Where an event appeared first, and as what."""

    partition: int
    offset: int
    digest: bytes


async def check_event_log(open_log: Callable[[], EventLog], streams: tuple[Stream, ...]) -> tuple[str, list[str]]:
    """Compare all streams with the log, and look for dead letters.

    Returns:
        What was looked at, and what is wrong.
    """
    told, wrong, unpublished = [], [], 0
    # Outboxes first, since they grow first: what they say was published must be found in the log after it.
    cursors = [await _cursor_of(stream) for stream in streams]
    log = open_log()
    try:
        for stream, (published, last) in zip(streams, cursors, strict=True):
            unpublished += last - published
            wrong += await _missing_of(log, stream, published)
            told.append(f"{published:,} {stream.topic}")
        wrong += await _dead_letters(log)
        backlog = await log.backlog()
    finally:
        await log.close()
    return f"{' and '.join(told)} published, {unpublished:,} to publish, {backlog:,} to consume", wrong


async def _cursor_of(stream: Stream) -> tuple[int, int]:
    """Read up to where a stream was published, and where it ends."""
    database = open_database(stream.database_url)
    try:
        async with database.snapshot() as connection:
            cursors = await connection.fetch(_CURSOR, stream.name.encode())
            ((last,),) = await connection.fetch(_LAST, stream.name.encode())
    finally:
        await database.close()
    published = cursors[0][0] if cursors else 0
    return published, max(last or 0, published)


async def _missing_of(log: EventLog, stream: Stream, published: int) -> list[str]:
    """Name the first event of the outbox that is not where it should be."""
    # What a partition forgot is old and handled: there the comparison begins with what it still has.
    unmet = set(await log.forgetful_partitions(stream.topic))
    last_offsets: dict[int, int] = {}
    database = open_database(stream.database_url)
    try:
        with closing(sqlite3.connect("")) as index:
            await _note_firsts(index, log, stream.topic)
            async for event in _published_of(database, stream, published):
                first = _first_of(index, event)
                if first is None and unmet:
                    continue
                if not _is_in_place(event, first, last_offsets):
                    return [
                        f"{stream.topic}: event {event} of {stream.name} is missing, or is another, or not in its place"
                    ]
                unmet -= last_offsets.keys()
    finally:
        await database.close()
    return []


def _is_in_place(event: _Event, first: _First | None, last_offsets: dict[int, int]) -> bool:
    if first is None or first.digest != _digest_of(event.message):
        return False
    if first.offset <= last_offsets.get(first.partition, -1):
        return False
    last_offsets[first.partition] = first.offset
    return True


async def _note_firsts(index: sqlite3.Connection, log: EventLog, topic: str) -> None:
    index.execute(_CREATE_FIRSTS)
    async for message in log.messages(topic):
        event_id = message.headers.get("event-id")
        index.execute(_ADD_FIRST, (event_id, message.partition, message.offset, _digest_of(message)))


def _first_of(index: sqlite3.Connection, event: _Event) -> _First | None:
    row = index.execute(_READ_FIRST, (event.event_id,)).fetchone()
    return None if row is None else _First(*row)


def _digest_of(message: Message) -> bytes:
    """Digest what an event says: it is the same in a registry's wire format and plain."""
    try:
        payload = payload_of(message.value)
    except InvalidArgumentError:
        payload = message.value
    return hashlib.sha256(len(message.key).to_bytes(4) + message.key + payload).digest()


async def _published_of(database: Database, stream: Stream, published: int) -> AsyncGenerator[_Event, None]:
    last = 0
    while last < published:
        async with database.snapshot() as connection:
            packs = await read_packs(connection, stream.name, after_sequence=last, events_max=ROWS_A_PAGE)
        if not packs:
            return
        for pack in packs:
            for sequence, event in enumerate(pack.events, start=pack.first_sequence):
                if sequence <= published:
                    yield _Event(sequence=sequence, message=stream.message_of(event))
        last = packs[-1].sequence


async def _dead_letters(log: EventLog) -> list[str]:
    """Tell of letters that wait, and of those that were given up; one that was redriven and handled had its effect."""
    found = []
    for topic in await log.topics():
        if topic.endswith(DEAD_LETTERS_SUFFIX):
            letters = OutstandingLetters()
            reasons = [
                message.headers.get(REASON_HEADER, "no reason given")
                async for message in log.messages(topic)
                if message.headers.get(SETTLED_HEADER) != DISCARDED and not letters.add(message)
            ]
            reasons += [letter.reason for letter in letters.waiting()]
            found += [f"{topic}: a message had no effect: {reason}" for reason in reasons]
    return found


def backlog_of(end_offset: int, next_offset: int, first_offset: int) -> int:
    """Count what a group has still to handle of a partition; one that never committed begins at the first."""
    return max(0, end_offset - max(first_offset, next_offset))


Offsets = Mapping[tuple[str, int], int]
"""Of partitions, by topic and number."""
