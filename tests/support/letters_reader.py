"""A replaying consumer of what a fake producer published to dead-letter topics."""

from collections.abc import Mapping, Sequence

from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Message, Place, ReceivedMessage
from services.runtime.errors import UnavailableError


class LettersReader:
    """Fits the Consumer port, over a list that others go on filling."""

    def __init__(self, log: list[Message]) -> None:
        """Stand at the beginning of the log."""
        self._log = log
        self._next = 0
        self.failures_left = 0

    async def opened(self) -> "LettersReader":
        """Open it, as a broker does."""
        return self

    def _letters(self) -> list[Message]:
        return [message for message in self._log if message.topic.endswith(DEAD_LETTERS_SUFFIX)]

    async def lag(self) -> Mapping[Place, int]:
        """Count what wasn't given out."""
        if self.failures_left:
            self.failures_left -= 1
            raise UnavailableError("away")
        return {("topic.dlq", 0): len(self._letters()) - self._next}

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        """Give out one message, so that a reader has to ask again."""
        assert messages_max > 0
        assert timeout_seconds > 0
        given = [
            ReceivedMessage(
                topic=message.topic,
                key=message.key,
                value=message.value,
                headers=message.headers,
                partition=0,
                offset=self._next,
            )
            for message in self._letters()[self._next : self._next + 1]
        ]
        self._next += len(given)
        return given

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        """Nothing to remember."""

    async def close(self) -> None:
        """Nothing to leave."""
