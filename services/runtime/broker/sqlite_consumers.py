"""Consumers of the embedded broker."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from services.runtime.broker.port import LEASE_LOST_REASON, Place, ReceivedMessage
from services.runtime.broker.sqlite_groups import Lease, SqliteGroups
from services.runtime.broker.sqlite_log import PARTITION, SqliteLog
from services.runtime.broker.sqlite_wakes import Wakes
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError
from services.runtime.ids import new_id

_WAIT_LONGEST_SECONDS = 0.5
"""How long a consumer that nobody wakes waits before it looks again, for leases that end by themselves."""

_UNPOLLED_LONGEST = timedelta(minutes=5)
"""How long a consumer keeps its topics without polling; longer than any batch takes. Kafka has the same default."""


class SqliteConsumer(ABC):
    """What all consumers do: wait for messages of their topics, and take turns among these."""

    def __init__(
        self, log: SqliteLog, wakes: Wakes, topics: Sequence[str], on_close: Callable[["SqliteConsumer"], None]
    ) -> None:
        """Read these topics; `on_close` is told of the end."""
        log.require_topics(topics)
        self._log = log
        self._wakes = wakes
        self._topics = list(topics)
        self._positions: dict[str, int] = {}
        self._on_close = on_close
        self._woken = asyncio.Event()

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Return the next messages as soon as there are any, or none after the timeout."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_seconds
        self._wakes.listen(self._woken)
        try:
            while True:
                self._woken.clear()
                if messages := await self._read(messages_max):
                    return messages
                remaining = give_up_at - loop.time()
                if remaining <= 0:
                    return []
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(remaining, _WAIT_LONGEST_SECONDS)):
                        await self._woken.wait()
        finally:
            self._wakes.forget(self._woken)

    async def _read(self, messages_max: int) -> list[ReceivedMessage]:
        messages: list[ReceivedMessage] = []
        for topic in self._topics:
            if len(messages) < messages_max and await self._may_read(topic):
                messages += await self._log.read(
                    topic, first_offset=self._positions[topic], messages_max=messages_max - len(messages)
                )
        for message in messages:
            self._positions[message.topic] = message.offset + 1
        # The next poll begins with another topic, so that a busy one doesn't keep the others waiting.
        self._topics.append(self._topics.pop(0))
        return messages

    async def lag(self) -> Mapping[Place, int]:
        """Count the messages of each topic that it reads now and that are ahead of it."""
        return {
            (topic, PARTITION): self._log.count(topic, first_offset=next_)
            for topic, next_ in self._next_offsets().items()
        }

    @abstractmethod
    def _next_offsets(self) -> dict[str, int]:
        """Tell where it stands in each topic that it reads."""

    @abstractmethod
    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remember that these, and all before them, were handled."""

    @abstractmethod
    async def close(self) -> None:
        """Stop reading."""

    @abstractmethod
    async def _may_read(self, topic: str) -> bool:
        """Make sure that there is a position in the topic, or tell that it isn't this consumer's to read."""


class SqliteLogConsumer(SqliteConsumer):
    """Reads for itself alone, of no group: what is published from its creation on, or all that is kept."""

    def __init__(
        self,
        log: SqliteLog,
        wakes: Wakes,
        topics: Sequence[str],
        on_close: Callable[["SqliteConsumer"], None],
        *,
        from_oldest: bool,
    ) -> None:
        """Stand at the end of the topics, or at their beginning."""
        super().__init__(log, wakes, topics, on_close)
        self._positions = {topic: 0 if from_oldest else log.end_offset(topic) for topic in topics}

    async def _may_read(self, topic: str) -> bool:
        return topic in self._positions

    def _next_offsets(self) -> dict[str, int]:
        return dict(self._positions)

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Do nothing: a consumer of no group has nothing to remember."""

    async def close(self) -> None:
        """Stop reading."""
        self._on_close(self)


class SqliteGroupConsumer(SqliteConsumer):
    """Reads the topics whose leases it holds for its group."""

    def __init__(
        self,
        log: SqliteLog,
        wakes: Wakes,
        topics: Sequence[str],
        on_close: Callable[["SqliteConsumer"], None],
        *,
        group: str,
        groups: SqliteGroups,
        clock: Clock,
    ) -> None:
        """Join a group, and hold nothing yet."""
        super().__init__(log, wakes, topics, on_close)
        self._group = group
        self._groups = groups
        self._clock = clock
        self._holder = new_id()
        self._leases: dict[str, Lease] = {}
        self._polled_at = clock.now()

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Return the next messages as soon as there are any, or none after the timeout."""
        self._polled_at = self._clock.now()
        return await super().poll(messages_max=messages_max, timeout_seconds=timeout_seconds)

    async def _may_read(self, topic: str) -> bool:
        lease = self._leases.get(topic)
        if lease is not None and self._groups.is_valid(lease):
            return True
        if not self._groups.is_free(self._group, topic, self._holder):
            self._forget(topic)
            return False
        taken = await self._groups.take(self._group, topic, self._holder)
        if taken is None:
            self._forget(topic)
            return False
        self._leases[topic], next_offset = taken
        # A lease that ran out and that nobody took goes on where this consumer was.
        self._positions.setdefault(topic, next_offset)
        return True

    def _next_offsets(self) -> dict[str, int]:
        return {topic: self._groups.next_offset(self._group, topic) for topic in self._leases}

    def leases_to_renew(self) -> list[Lease]:
        """List the leases that the broker renews meanwhile: none of a consumer that stopped polling."""
        if self._clock.now() - self._polled_at > _UNPOLLED_LONGEST:
            return []
        return list(self._leases.values())

    def renewed(self, asked: Sequence[Lease], renewed: Sequence[Lease]) -> None:
        """Take note of leases that were renewed, and of those that were lost."""
        still_held = {lease.topic: lease for lease in renewed if lease.holder == self._holder}
        for lease in asked:
            if lease.holder != self._holder or lease.topic not in self._leases:
                continue
            if lease.topic in still_held:
                self._leases[lease.topic] = still_held[lease.topic]
            else:
                self._forget(lease.topic)

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remember that these, and all before them, were handled.

        Raises:
            UnavailableError: Another consumer took over and gets them again; go on polling. Its reason
                is `LEASE_LOST_REASON`.
        """
        next_offsets: dict[str, int] = {}
        for message in messages:
            next_offsets[message.topic] = max(next_offsets.get(message.topic, 0), message.offset + 1)
        if not next_offsets:
            return
        try:
            expires_at = await self._groups.commit(self._group, self._holder, next_offsets)
        except UnavailableError as error:
            if error.reason == LEASE_LOST_REASON:
                for topic in next_offsets:
                    self._forget(topic)
            raise
        self._extend(next_offsets, expires_at)

    def _extend(self, topics: Iterable[str], expires_at: datetime) -> None:
        for topic in topics:
            if topic in self._leases:
                self._leases[topic] = replace(self._leases[topic], expires_at=expires_at)

    def _forget(self, topic: str) -> None:
        self._leases.pop(topic, None)
        self._positions.pop(topic, None)

    async def close(self) -> None:
        """Leave the group; another of its consumers may go on at once."""
        self._on_close(self)
        held, self._leases = bool(self._leases), {}
        self._positions.clear()
        if held:
            await self._groups.release(self._group, self._holder)
            self._wakes.notify()
