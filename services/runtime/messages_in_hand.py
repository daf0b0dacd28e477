"""What a consumer loop was given and has not committed: it must neither lose a message nor deal with one twice.

A loop that stands still at one message, or that crashed, comes back to the same messages. Those that are done stay so:
a letter that a person discarded meanwhile would come again, or take effect after all.
"""

from collections.abc import Iterable, Sequence

from services.runtime.broker.port import Place, ReceivedMessage

_Identity = tuple[str, int, int]


class MessagesInHand:
    """Messages of some partitions, in order, each done or not."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.messages: Sequence[ReceivedMessage] = ()
        self._done: set[_Identity] = set()

    def take(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take the next ones; those before are let go."""
        self.messages = messages
        self._done.clear()

    def note_done(self, messages: Iterable[ReceivedMessage]) -> None:
        """Note that these took effect, or were put aside."""
        self._done.update(map(_identity, messages))

    @property
    def left(self) -> list[ReceivedMessage]:
        """List what is to be done."""
        return [message for message in self.messages if _identity(message) not in self._done]

    def take_done_in_front(self) -> list[ReceivedMessage]:
        """Let go of what is done before the first of its partition that isn't: offsets say no more than that."""
        in_front, others = list[ReceivedMessage](), list[ReceivedMessage]()
        stands_still: set[Place] = set()
        for message in self.messages:
            place = (message.topic, message.partition)
            if _identity(message) not in self._done:
                stands_still.add(place)
            (others if place in stands_still else in_front).append(message)
        self.messages = others
        return in_front


def _identity(message: ReceivedMessage) -> _Identity:
    return message.topic, message.partition, message.offset
