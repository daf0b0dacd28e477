"""What a topic's consumer could not handle, kept in the topic's dead-letter topic, and nowhere else.

The dead-letter topic is the durable truth: whoever folds it from its beginning (`OutstandingLetters`) knows what waits,
for which consumer, and which keys are parked. It holds two kinds of messages, both under the key of the message that
could not be handled:

letter   the message as it came, with `dlq-reason`, `dlq-topic`, `dlq-partition`, `dlq-offset` and `dlq-consumer` added
settled  an empty value, with the same `dlq-topic`, `dlq-partition`, `dlq-offset` and `dlq-consumer` as the letter that
         waits no more, and `dlq-settled` saying why: `handled` or `discarded`

Redriving a letter (`redriven`) publishes it to its own topic again, with the headers that say where it came from and
`dlq-redriven: true`. The consumer it is for handles it if it is the oldest that waits of its key, and then settles it;
if it fails once more, or others of its key wait before it, the letter stays as and where it is. So redrive a key's
letters in the order of the dead-letter topic, as often as needed: a letter that is settled already is passed over. To
other consumers of the topic it is a repeated event.

A key with a letter that waits is parked, past any restart: what comes after it becomes a letter too (`parked`). Only
who gives up a letter by hand publishes `settled(letter, DISCARDED)`.

Dead-letter topics must keep their messages: give them no retention.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Message, ReceivedMessage

PARKED_REASON = "parked"
"""`dlq-reason` of a message that could be handled, but came after one of the same key that couldn't."""

REASON_HEADER = "dlq-reason"

SETTLED_HEADER = "dlq-settled"

REDRIVEN_HEADER = "dlq-redriven"

HANDLED = "handled"
"""Settled: it was redriven and took effect."""

DISCARDED = "discarded"
"""Settled: a person decided that it never takes effect."""

_ORIGIN_HEADERS = ("dlq-topic", "dlq-partition", "dlq-offset", "dlq-consumer")

_OWN_HEADERS = frozenset({*_ORIGIN_HEADERS, REASON_HEADER, SETTLED_HEADER, REDRIVEN_HEADER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which message could not be handled, and by whom: a letter's identity."""

    topic: str
    partition: int
    offset: int
    consumer: str

    def headers(self) -> dict[str, str]:
        """Write it down."""
        values = (self.topic, str(self.partition), str(self.offset), self.consumer)
        return dict(zip(_ORIGIN_HEADERS, values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that waits in a dead-letter topic."""

    origin: Origin
    reason: str
    key: bytes
    value: bytes
    headers: Mapping[str, str]
    """The message's own, as they came."""

    @property
    def dead_letter_topic(self) -> str:
        """Where it waits."""
        return f"{self.origin.topic}{DEAD_LETTERS_SUFFIX}"


def letter_for(message: ReceivedMessage, *, consumer: str, reason: str) -> DeadLetter:
    """Put a message aside that a consumer can't handle."""
    return DeadLetter(
        origin=Origin(topic=message.topic, partition=message.partition, offset=message.offset, consumer=consumer),
        reason=reason,
        key=message.key,
        value=message.value,
        headers=_without_own(message.headers),
    )


def published(letter: DeadLetter) -> Message:
    """Make the message that keeps a letter."""
    headers = {**letter.headers, REASON_HEADER: letter.reason, **letter.origin.headers()}
    return Message(topic=letter.dead_letter_topic, key=letter.key, value=letter.value, headers=headers)


def settled(letter: DeadLetter, outcome: str) -> Message:
    """Make the message that says that a letter waits no more, `HANDLED` or `DISCARDED`."""
    headers = {**letter.origin.headers(), SETTLED_HEADER: outcome}
    return Message(topic=letter.dead_letter_topic, key=letter.key, value=b"", headers=headers)


def redriven(letter: DeadLetter) -> Message:
    """Make the message that hands a letter to its consumer once more."""
    headers = {**letter.headers, **letter.origin.headers(), REDRIVEN_HEADER: "true"}
    return Message(topic=letter.origin.topic, key=letter.key, value=letter.value, headers=headers)


def redriven_origin(message: Message) -> Origin | None:
    """Tell which letter a message of an ordinary topic redrives; None when it is an ordinary message."""
    return _origin_of(message) if message.headers.get(REDRIVEN_HEADER) == "true" else None


class OutstandingLetters:
    """The letters of dead-letter topics that wait, oldest first in each key: a fold over those topics' messages.

    A letter that was published twice, after a crash, is one.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._by_key: dict[tuple[str, str, bytes], dict[Origin, DeadLetter]] = {}

    def add(self, message: Message) -> bool:
        """Take in the next message of a dead-letter topic; tell of one that is none of ours, and is passed over."""
        origin = _origin_of(message)
        if origin is None:
            return False
        key = (origin.consumer, origin.topic, message.key)
        if SETTLED_HEADER in message.headers:
            letters = self._by_key.get(key, {})
            letters.pop(origin, None)
            if not letters:
                self._by_key.pop(key, None)
            return True
        letter = DeadLetter(
            origin=origin,
            reason=message.headers.get(REASON_HEADER, ""),
            key=message.key,
            value=message.value,
            headers=_without_own(message.headers),
        )
        self._by_key.setdefault(key, {}).setdefault(origin, letter)
        return True

    def waiting(self) -> list[DeadLetter]:
        """List all of them, key by key."""
        return [letter for letters in self._by_key.values() for letter in letters.values()]

    def of_key(self, consumer: str, topic: str, key: bytes) -> list[DeadLetter]:
        """List a consumer's letters of one key, oldest first."""
        return list(self._by_key.get((consumer, topic, key), {}).values())

    def count_of(self, consumer: str) -> int:
        """Count a consumer's letters."""
        return sum(len(letters) for (name, _, _), letters in self._by_key.items() if name == consumer)


def _origin_of(message: Message) -> Origin | None:
    try:
        topic, partition, offset, consumer = (message.headers[name] for name in _ORIGIN_HEADERS)
        return Origin(topic=topic, partition=int(partition), offset=int(offset), consumer=consumer)
    except (KeyError, ValueError):
        return None


def _without_own(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _OWN_HEADERS}
