"""One consumer's dead letters: which keys are parked, as the dead-letter topics have it.

Other processes of the group put letters aside too, and people redrive and discard. So the topics are read again, up to
their ends, whenever a consumer can't be sure that it knows them: at its start, after its partitions were elsewhere, and
before anything is parked; and every few seconds, so that metrics tell what waits.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.runtime.broker.port import Consumer, Message, Producer, ReceivedMessage
from services.runtime.dead_letters import HANDLED, DeadLetter, OutstandingLetters, letter_for, published, settled

logger = structlog.get_logger(__name__)

READ_MESSAGES_MAX = 500
"""Messages of one poll; dead letters are few."""

READ_SECONDS = 1.0
"""How long one poll waits for messages that are known to be there."""


class Parking:
    """What a consumer couldn't handle, and what waits behind it. Several tasks may use it."""

    def __init__(
        self, producer: Producer, open_reader: Callable[[], Awaitable[Consumer]], *, consumer_name: str
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            producer: Publishes to the dead-letter topics, as they are.
            open_reader: Opens a replaying consumer of these topics; the broker closes it.
            consumer_name: Whose letters they are, for good: another name knows nothing of them.
        """
        self._producer = producer
        self._open_reader = open_reader
        self._reader: Consumer | None = None
        self.consumer_name = consumer_name
        self._letters = OutstandingLetters()
        # What is published is added here before the topic is read on: a letter that was discarded in between would be
        # added behind its end, and wait for ever.
        self._one_at_a_time = asyncio.Lock()

    async def catch_up(self) -> None:
        """Read the dead-letter topics up to their ends.

        Raises:
            UnavailableError: Try again; nothing of what was read is lost.
        """
        async with self._one_at_a_time:
            await self._read_on()

    async def _read_on(self) -> None:
        if self._reader is None:
            self._reader = await self._open_reader()
        while any((await self._reader.lag()).values()):
            messages = await self._reader.poll(messages_max=READ_MESSAGES_MAX, timeout_seconds=READ_SECONDS)
            if not messages:
                logger.warning("dead_letters_not_read", consumer=self.consumer_name)
            for message in messages:
                self._letters.add(message)

    def letters_before(self, message: ReceivedMessage) -> list[DeadLetter]:
        """List the letters that wait of a message's key, oldest first."""
        return self._letters.of_key(self.consumer_name, message.topic, message.key)

    @property
    def count(self) -> int:
        """How many letters wait."""
        return self._letters.count_of(self.consumer_name)

    async def put_aside(self, message: ReceivedMessage, reason: str) -> None:
        """Make a message a dead letter, durably.

        Raises:
            UnavailableError: It may be one already; call again.
        """
        letter = published(letter_for(message, consumer=self.consumer_name, reason=reason))
        await self._publish_and_add(letter)

    async def settle(self, letter: DeadLetter) -> None:
        """Let a letter wait no more: it took effect.

        Raises:
            UnavailableError: It may wait no more already; call again.
        """
        await self._publish_and_add(settled(letter, HANDLED))

    async def _publish_and_add(self, message: Message) -> None:
        async with self._one_at_a_time:
            await self._producer.publish([message])
            self._letters.add(message)
