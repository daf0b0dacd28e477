"""The embedded broker: a log in a SQLite file that several processes share.

Consumers of this process are woken by whoever publishes in it; for what other processes publish, one task for each
broker looks every 50 ms whether the file has changed.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from services.runtime.broker.port import Message
from services.runtime.broker.sqlite_consumers import SqliteConsumer, SqliteGroupConsumer, SqliteLogConsumer
from services.runtime.broker.sqlite_groups import SqliteGroups
from services.runtime.broker.sqlite_log import SqliteLog
from services.runtime.broker.sqlite_wakes import Wakes, wakes_of
from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

_WATCH_SECONDS = 0.05
"""How often to look for what other processes published; one look takes some microseconds."""

_LEASE_SECONDS = 5.0
"""How long a consumer that died keeps its group from going on. Past any stall of a living process."""

_RENEWALS_PER_LEASE = 3
"""So that one renewal may fail."""

_RETENTION = timedelta(days=7)
"""How long messages are kept. Kafka has the same default."""

_PRUNE_EVERY = timedelta(minutes=10)
"""How often old messages are looked for."""


class SqliteBroker:
    """The `Broker` port on a SQLite file."""

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        lease_seconds: float = _LEASE_SECONDS,
        retention: timedelta | None = _RETENTION,
    ) -> None:
        """Open a file; it is created when missing.

        Args:
            path: The file.
            clock: What leases and retention follow.
            lease_seconds: How long a consumer that died keeps its group from going on.
            retention: How long messages are kept that all groups have handled; None keeps them.
        """
        self._clock = clock or SystemClock()
        self._lease_seconds = lease_seconds
        self._retention = retention
        self._file = SqliteLog(path)
        self._groups = SqliteGroups(self._file, self._clock, lease_seconds)
        self._wakes = wakes_of(self._file.path)
        self._consumers: set[SqliteConsumer] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def ensure_topics(self, topics: Sequence[str]) -> None:
        """Make sure that the topics exist."""
        await self._file.create_topics(topics)

    def producer(self) -> "SqliteProducer":
        """Open a producer."""
        return SqliteProducer(self._file, self._wakes, self._clock)

    def group_consumer(self, *, group: str, topics: Sequence[str]) -> SqliteGroupConsumer:
        """Open a consumer that shares the topics with the others of its group: one at a time reads each.

        Raises:
            NotFoundError: A topic doesn't exist.
        """
        consumer = SqliteGroupConsumer(
            self._file,
            self._wakes,
            topics,
            self._consumers.discard,
            group=group,
            groups=self._groups,
            clock=self._clock,
        )
        self._add(consumer)
        return consumer

    async def tailing_consumer(self, *, topics: Sequence[str]) -> SqliteLogConsumer:
        """Open a consumer that starts with what is published from now on.

        Raises:
            NotFoundError: A topic doesn't exist.
        """
        return self._log_consumer(topics, from_oldest=False)

    async def replaying_consumer(self, *, topics: Sequence[str]) -> SqliteLogConsumer:
        """Open a consumer that starts with the oldest message that is kept.

        Raises:
            NotFoundError: A topic doesn't exist.
        """
        return self._log_consumer(topics, from_oldest=True)

    def _log_consumer(self, topics: Sequence[str], *, from_oldest: bool) -> SqliteLogConsumer:
        consumer = SqliteLogConsumer(self._file, self._wakes, topics, self._consumers.discard, from_oldest=from_oldest)
        self._add(consumer)
        return consumer

    def outer_name(self, topic: str) -> str:
        """Name a topic: the file is this installation's alone."""
        return topic

    def _add(self, consumer: SqliteConsumer) -> None:
        self._consumers.add(consumer)
        if not self._tasks:
            self._start(self._watch(), "watch")
            self._start(self._renew_leases(), "renew")
            self._start(self._prune(), "prune")

    def _start(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(loop, name=f"broker-{name}")
        task.add_done_callback(_log_unexpected_end)
        self._tasks.append(task)

    async def _watch(self) -> None:
        """Wake this process's consumers when any process has written."""
        seen = 0
        while True:
            with suppress(UnavailableError):
                version = await self._file.version()
                if version != seen:
                    seen = version
                    self._wakes.notify()
            await asyncio.sleep(_WATCH_SECONDS)

    async def _renew_leases(self) -> None:
        while True:
            await self._clock.sleep(self._lease_seconds / _RENEWALS_PER_LEASE)
            consumers = [consumer for consumer in self._consumers if isinstance(consumer, SqliteGroupConsumer)]
            leases = [lease for consumer in consumers for lease in consumer.leases_to_renew()]
            if not leases:
                continue
            try:
                renewed = await self._groups.renew(leases)
            except UnavailableError as error:
                logger.warning("broker_leases_not_renewed", reason=error.reason)
                continue
            for consumer in consumers:
                consumer.renewed(leases, renewed)

    async def _prune(self) -> None:
        while self._retention is not None:
            try:
                await self.prune(older_than=self._retention)
            except UnavailableError as error:
                logger.info("broker_prune_failed", reason=error.reason)
            await self._clock.sleep(_PRUNE_EVERY.total_seconds())

    async def prune(self, *, older_than: timedelta) -> int:
        """Delete messages past an age that all groups have handled, in short transactions; return how many."""
        return await self._file.prune(published_before=self._clock.now() - older_than)

    async def close(self) -> None:
        """Close all producers and consumers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for consumer in list(self._consumers):
            with suppress(UnavailableError):
                await consumer.close()
        await self._file.close()
        self._wakes.notify()


def _log_unexpected_end(task: asyncio.Task[None]) -> None:
    """Say so when a task dies of a bug: consumers go on without it, and only notice later what happens."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("broker_task_died", task=task.get_name(), exc_info=error)


class SqliteProducer:
    """The `Producer` port on a SQLite file."""

    def __init__(self, log: SqliteLog, wakes: Wakes, clock: Clock) -> None:
        """Publish into this log."""
        self._log = log
        self._wakes = wakes
        self._clock = clock

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order, all or nothing, and return once they are on the disk.

        Raises:
            UnavailableError: Publish all again.
            NotFoundError: A topic doesn't exist.
        """
        if messages:
            await self._log.append(messages, self._clock.now())
            self._wakes.notify()
