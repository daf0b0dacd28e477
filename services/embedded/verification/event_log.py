"""Invariant 6: what a service's outbox says was published is in the event log, in its order.

A relay publishes its stream in order, and after a crash some of it again. So the first appearances in the topic must be
the outbox's rows one by one; everything in between must be a repetition.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from services.embedded.sqlite_url import sqlite_url
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, ReceivedMessage
from services.runtime.broker.sqlite_log import SqliteLog
from services.runtime.database.opening import open_database
from services.runtime.database.port import Database

ROWS_A_PAGE = 1_000
"""Messages and outbox rows read at once."""

_CURSOR = "SELECT cursor_sequence FROM outbox_relays WHERE stream = $1"

_LAST = "SELECT MAX(sequence) FROM outbox WHERE stream = $1"

_EVENTS = """
    SELECT sequence, event_id, message_key, payload FROM outbox WHERE stream = $1 AND sequence > $2 AND sequence <= $3
    ORDER BY sequence LIMIT $4
"""

_TOPICS = "SELECT topic FROM topics ORDER BY topic"

_BACKLOG = "SELECT group_name, topic, next_offset FROM consumer_groups ORDER BY group_name, topic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Where one service writes its events, and where they go."""

    database: Path
    name: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """A row of an outbox."""

    sequence: int
    event_id: str
    key: bytes
    payload: bytes

    def is_in(self, message: ReceivedMessage) -> bool:
        """Tell whether this is what was published, byte by byte."""
        published = (message.headers.get("event-id"), message.key, message.value)
        return published == (self.event_id, self.key, self.payload)

    def __str__(self) -> str:
        return f"{self.event_id} (number {self.sequence})"


async def check_event_log(broker_file: Path, streams: tuple[Stream, ...]) -> tuple[str, list[str]]:
    """Compare all streams with the log, and look for dead letters.

    Returns:
        What was looked at, and what is wrong.
    """
    told, wrong, unpublished = [], [], 0
    # Outboxes first, since they grow first: what they say was published must be found in the log after it.
    cursors = [await _cursor_of(stream) for stream in streams]
    log = SqliteLog(broker_file)
    try:
        for stream, (published, last) in zip(streams, cursors, strict=True):
            unpublished += last - published
            wrong += await _missing_of(log, stream, published)
            told.append(f"{published:,} {stream.topic}")
        wrong += await _dead_letters(log)
        backlog = _backlog_of(log)
    finally:
        await log.close()
    return f"{' and '.join(told)} published, {unpublished:,} to publish, {backlog:,} to consume", wrong


async def _cursor_of(stream: Stream) -> tuple[int, int]:
    """Read up to where a stream was published, and where it ends."""
    database = open_database(sqlite_url(stream.database))
    try:
        async with database.snapshot() as connection:
            cursors = await connection.fetch(_CURSOR, stream.name.encode())
            ((last,),) = await connection.fetch(_LAST, stream.name.encode())
    finally:
        await database.close()
    published = cursors[0][0] if cursors else 0
    return published, max(last or 0, published)


async def _missing_of(log: SqliteLog, stream: Stream, published: int) -> list[str]:
    """Walk through the log and the outbox side by side, and name the outbox's first row without its message."""
    database = open_database(sqlite_url(stream.database))
    try:
        messages, rows = _messages_of(log, stream.topic), _published_of(database, stream.name, published)
        message, event = await anext(messages, None), await anext(rows, None)
        first_offset = log.end_offset(stream.topic) if message is None else message.offset
        if first_offset > 1:  # the log forgot what is old and handled: begin where both begin
            while event is not None and (message is None or not event.is_in(message)):
                event = await anext(rows, None)
        while event is not None and message is not None:
            if event.is_in(message):
                event = await anext(rows, None)
            message = await anext(messages, None)
    finally:
        await database.close()
    if event is None:
        return []
    return [f"{stream.topic}: event {event} of {stream.name} is missing, or is another, or not in its place"]


async def _messages_of(log: SqliteLog, topic: str) -> AsyncGenerator[ReceivedMessage, None]:
    next_offset = 0
    while messages := await log.read(topic, first_offset=next_offset, messages_max=ROWS_A_PAGE):
        for message in messages:
            yield message
        next_offset = messages[-1].offset + 1


async def _published_of(database: Database, stream: str, published: int) -> AsyncGenerator[_Event, None]:
    last = 0
    while True:
        async with database.snapshot() as connection:
            rows = await connection.fetch(_EVENTS, stream.encode(), last, published, ROWS_A_PAGE)
        for sequence, event_id, key, payload in rows:
            yield _Event(sequence=sequence, event_id=str(UUID(bytes=event_id)), key=key, payload=payload)
        if len(rows) < ROWS_A_PAGE:
            return
        last = rows[-1][0]


async def _dead_letters(log: SqliteLog) -> list[str]:
    found = []
    for (topic,) in log.look(_TOPICS, ()):
        if topic.endswith(DEAD_LETTERS_SUFFIX):
            async for message in _messages_of(log, topic):
                reason = message.headers.get("dlq-reason", "no reason given")
                found.append(f"{topic}: a message had no effect: {reason}")
    return found


def _backlog_of(log: SqliteLog) -> int:
    """Count what was published and not handled yet, over all groups."""
    rows = log.look(_BACKLOG, ())
    return sum(max(0, log.end_offset(topic) - max(1, next_offset)) for _, topic, next_offset in rows)
