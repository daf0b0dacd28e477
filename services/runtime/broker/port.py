"""What a service asks of the event log, whichever broker is behind it.

A topic is a log per partition. Messages with the same key keep the order they were published in. Delivery is at least
once: a consumer that dies before `commit` gets its messages again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

DEAD_LETTERS_SUFFIX = ".dlq"
"""Ends the name of the topic that holds what a topic's consumers could not handle."""

Place = tuple[str, int]
"""A topic and a partition of it."""

LEASE_LOST_REASON = "lease_lost"
"""The reason of `UnavailableError` when another consumer of the group has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is published."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage(Message):
    """What is consumed: a message and its place in the log."""

    partition: int
    offset: int


class Producer(Protocol):
    """Publishes."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order and return once all of them are durable.

        Raises:
            UnavailableError: Some may be published and some not; publish all again.
        """
        ...


class Consumer(Protocol):
    """Reads topics, from where its group stopped or from a place it was told."""

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Return the next messages as soon as there are any, or none after the timeout."""
        ...

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remember that these, and all before them in their partitions, were handled.

        Raises:
            UnavailableError: With `LEASE_LOST_REASON`, another consumer of the group has taken over and gets them
                again: don't repeat this, poll on. With any other reason, nothing is known: repeat it.
        """
        ...

    async def lag(self) -> Mapping[Place, int]:
        """Count the messages of each partition that it reads now and that are ahead of it; asks the broker.

        Ahead of what the group committed; of a consumer of no group, ahead of what it gave out.

        Raises:
            UnavailableError: The broker doesn't answer.
        """
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


class Broker(Protocol):
    """The event log."""

    def producer(self) -> Producer:
        """Open a producer."""
        ...

    def group_consumer(self, *, group: str, topics: Sequence[str]) -> Consumer:
        """Open a consumer that shares the topics' partitions with the others of its group.

        A group that never committed starts at the beginning.
        """
        ...

    async def tailing_consumer(self, *, topics: Sequence[str]) -> Consumer:
        """Open a consumer of all partitions, of no group, that starts with what is published from now on.

        Raises:
            UnavailableError: The broker doesn't answer.
            NotFoundError: A topic doesn't exist.
        """
        ...

    async def replaying_consumer(self, *, topics: Sequence[str]) -> Consumer:
        """Open a consumer of all partitions, of no group, that starts with the oldest message that is kept.

        It has caught up with the log when its `lag` is zero everywhere.

        Raises:
            UnavailableError: The broker doesn't answer.
            NotFoundError: A topic doesn't exist.
        """
        ...

    async def ensure_topics(self, topics: Sequence[str]) -> None:
        """Make sure that the topics exist (embedded), or fail with the name of the missing one (Kafka)."""
        ...

    def outer_name(self, topic: str) -> str:
        """Name a topic as programs outside of this installation do, which may share the broker with others."""
        ...

    async def close(self) -> None:
        """Close all producers and consumers."""
        ...
