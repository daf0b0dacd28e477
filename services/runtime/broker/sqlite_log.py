"""The file behind the embedded broker: a table for each topic, a row for each group and topic.

Offsets rise in the order of commits, since SQLite lets one transaction write at a time: whoever has read up to an
offset never finds a smaller one later. They are never given twice, not even after all messages were deleted.
"""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec

from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Message, ReceivedMessage
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Row
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.database.sqlite_session import SqliteSession
from services.runtime.errors import InvalidArgumentError, NotFoundError

PARTITION = 0
"""Each topic has this one partition."""

PRUNE_STEP_MESSAGES = 1_000
"""Messages that one transaction of `prune` deletes at most; a few milliseconds."""

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka allows too."""

_BUSY_TIMEOUT_SECONDS = 10.0
"""How long the session that reads waits; in WAL mode only for another process's recovery after a crash."""

_CREATE_TOPICS = "CREATE TABLE IF NOT EXISTS topics (topic VARCHAR(249) NOT NULL PRIMARY KEY)"

# `next_offset` is the first that the group has not handled. The holder may read and commit until its lease ends.
_CREATE_GROUPS = """
    CREATE TABLE IF NOT EXISTS consumer_groups (
        group_name VARCHAR(249) NOT NULL,
        topic VARCHAR(249) NOT NULL,
        next_offset BIGINT NOT NULL,
        holder BINARY(16) NOT NULL,
        lease_expires_at BIGINT NOT NULL,
        PRIMARY KEY (group_name, topic)
    )
"""

_CREATE_LOG = """
    CREATE TABLE IF NOT EXISTS "log:{topic}" (
        message_offset INTEGER PRIMARY KEY AUTOINCREMENT,
        message_key VARBINARY NOT NULL,
        value VARBINARY NOT NULL,
        headers VARBINARY NOT NULL,
        published_at BIGINT NOT NULL
    )
"""

_ADD_TOPIC = "INSERT INTO topics (topic) VALUES ($1) ON CONFLICT (topic) DO NOTHING"

_READ_TOPIC = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"

_READ_TOPICS = "SELECT topic FROM topics"

_APPEND = """
    INSERT INTO "log:{topic}" (message_key, value, headers, published_at) VALUES ($1, $2, $3, $4)
"""

_READ = """
    SELECT message_offset, message_key, value, headers FROM "log:{topic}"
    WHERE message_offset >= ? ORDER BY message_offset LIMIT ?
"""

_READ_OLDEST_OFFSET = 'SELECT MIN(message_offset) FROM "log:{topic}"'

_READ_LAST = "SELECT seq FROM sqlite_sequence WHERE name = ?"

# What no group has still to read, oldest first.
_READ_OLDEST = """
    SELECT message_offset, published_at FROM "log:{topic}"
    WHERE message_offset < COALESCE((SELECT MIN(next_offset) FROM consumer_groups WHERE topic = $1), $2)
    ORDER BY message_offset LIMIT $3
"""

_DELETE_OLDEST = 'DELETE FROM "log:{topic}" WHERE message_offset <= $1'

_OFFSET_MAX = 2**63 - 1
"""Past every message."""

_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
_encode_headers = msgspec.json.Encoder().encode


class SqliteLog:
    """Reads and writes the file."""

    def __init__(self, path: Path | str) -> None:
        """Open a file; it is created when missing."""
        self.database = SqliteDatabase(path)
        self.path = self.database.path
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-read")
        self._reader = SqliteSession(
            self.path, self._threads, reads_only=True, busy_timeout_seconds=_BUSY_TIMEOUT_SECONDS
        )
        self._reader.open_now()
        self._known_topics: set[str] = set()

    async def create_topics(self, topics: Sequence[str]) -> None:
        """Make sure that topics exist.

        Raises:
            InvalidArgumentError: A name that no broker would take.
        """
        for topic in topics:
            if not _TOPIC_NAME.fullmatch(topic):
                raise InvalidArgumentError(f"{topic!r} can't be a topic's name", reason="topic_malformed")
        async with self.database.transaction() as connection:
            await connection.execute(_CREATE_TOPICS)
            await connection.execute(_CREATE_GROUPS)
            for topic in topics:
                await connection.execute(_CREATE_LOG.format(topic=topic))
                await connection.execute(_ADD_TOPIC, topic)

    def require_topics(self, topics: Iterable[str]) -> None:
        """Make sure that topics exist.

        Raises:
            NotFoundError: One doesn't.
        """
        for topic in topics:
            if topic in self._known_topics:
                continue
            if not self._reader.run_now(_READ_TOPIC, (f"log:{topic}",)).rows:
                raise NotFoundError(
                    f"no topic {topic!r}: this is no broker of a platform, or no service ran on it yet",
                    reason="topic_unknown",
                )
            self._known_topics.add(topic)

    async def append(self, messages: Sequence[Message], now: datetime) -> None:
        """Append messages in one transaction; those of one topic keep their order."""
        self.require_topics({message.topic for message in messages})
        now_micros = to_micros(now)
        by_topic = groupby(sorted(messages, key=_topic_of), key=_topic_of)
        async with self.database.transaction() as connection:
            for topic, group in by_topic:
                await connection.execute_many(
                    _APPEND.format(topic=topic),
                    [(message.key, message.value, _encode_headers(message.headers), now_micros) for message in group],
                )

    async def read(self, topic: str, *, first_offset: int, messages_max: int) -> list[ReceivedMessage]:
        """Read the messages of a topic from an offset on."""
        result = await self._reader.run(_READ.format(topic=topic), (first_offset, messages_max))
        return [
            ReceivedMessage(
                topic=topic,
                key=key,
                value=value,
                headers=_decode_headers(headers),
                partition=PARTITION,
                offset=offset,
            )
            for offset, key, value, headers in result.rows
        ]

    def end_offset(self, topic: str) -> int:
        """Tell the offset that the next message will have, or less."""
        rows = self._reader.run_now(_READ_LAST, (f"log:{topic}",)).rows
        return int(rows[0][0]) + 1 if rows else 0

    def count(self, topic: str, *, first_offset: int) -> int:
        """Count the messages that are kept from an offset on; offsets have no gaps."""
        ((oldest,),) = self._reader.run_now(_READ_OLDEST_OFFSET.format(topic=topic), ()).rows
        return 0 if oldest is None else max(0, self.end_offset(topic) - max(first_offset, oldest))

    def look(self, sql: str, arguments: Sequence[object]) -> list[Row]:
        """Run a short SELECT of SQLite's own dialect outside of any transaction."""
        return self._reader.run_now(sql, arguments).rows

    async def version(self) -> int:
        """Tell a number that changes whenever anybody writes to the file; this reads no pages of it."""
        return int((await self._reader.run("PRAGMA data_version")).rows[0][0])

    async def prune(self, *, published_before: datetime) -> int:
        """Delete messages that are older and that all groups have handled, in short transactions; return how many.

        Dead letters stay: they wait for a person.
        """
        deleted = 0
        for (topic,) in (await self._reader.run(_READ_TOPICS)).rows:
            if topic.endswith(DEAD_LETTERS_SUFFIX):
                continue
            while step := await self._prune_step(topic, to_micros(published_before)):
                deleted += step
        return deleted

    async def _prune_step(self, topic: str, before_micros: int) -> int:
        async with self.database.transaction() as connection:
            last_offset = await _last_to_delete(connection, topic, before_micros)
            if last_offset is None:
                return 0
            return await connection.execute(_DELETE_OLDEST.format(topic=topic), last_offset)

    async def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._threads.shutdown()
        await self.database.close()


async def _last_to_delete(connection: Connection, topic: str, before_micros: int) -> int | None:
    oldest = await connection.fetch(_READ_OLDEST.format(topic=topic), topic, _OFFSET_MAX, PRUNE_STEP_MESSAGES)
    last_offset: int | None = None
    for offset, published_at_micros in oldest:
        if published_at_micros >= before_micros:
            break
        last_offset = offset
    return last_offset


def _topic_of(message: Message) -> str:
    return message.topic
