"""The embedded broker's file, as a check reads it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from services.embedded.verification.event_log import backlog_of
from services.runtime.broker.port import ReceivedMessage
from services.runtime.broker.sqlite_log import PARTITION, SqliteLog

MESSAGES_A_PAGE = 1_000
"""Read at once."""

FIRST_OFFSET = 1
"""SQLite's own first number."""

_TOPICS = "SELECT topic FROM topics ORDER BY topic"

_BACKLOG = "SELECT topic, next_offset FROM consumer_groups ORDER BY group_name, topic"


class SqliteEventLog:
    """Fits `EventLog`."""

    def __init__(self, file: Path) -> None:
        """Open it."""
        self._log = SqliteLog(file)

    async def topics(self) -> Sequence[str]:
        """List all topics."""
        return [topic for (topic,) in self._log.look(_TOPICS, ())]

    async def forgetful_partitions(self, topic: str) -> frozenset[int]:
        """List the partitions whose first messages are not kept any more."""
        first = await self._log.read(topic, first_offset=0, messages_max=1)
        first_offset = first[0].offset if first else self._log.end_offset(topic)
        return frozenset({PARTITION} if first_offset > FIRST_OFFSET else ())

    async def messages(self, topic: str) -> AsyncIterator[ReceivedMessage]:
        """Read what is there now."""
        next_offset = 0
        while page := await self._log.read(topic, first_offset=next_offset, messages_max=MESSAGES_A_PAGE):
            for message in page:
                yield message
            next_offset = page[-1].offset + 1

    async def backlog(self) -> int:
        """Count what was published and not handled yet, over all groups."""
        rows = self._log.look(_BACKLOG, ())
        return sum(backlog_of(self._log.end_offset(topic), next_offset, FIRST_OFFSET) for topic, next_offset in rows)

    async def close(self) -> None:
        """Close the file."""
        await self._log.close()
