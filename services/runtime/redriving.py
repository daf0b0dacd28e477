"""Dead letters by hand: which ones wait, and handing some of them to their consumers once more.

What a letter's consumer does with it, and why redriving twice is harmless, is told in `dead_letters`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.broker.port import DEAD_LETTERS_SUFFIX, Broker, Producer
from services.runtime.dead_letters import DISCARDED, DeadLetter, Origin, OutstandingLetters, redriven, settled

READ_MESSAGES_MAX = 500
"""Messages of one poll."""

READ_SECONDS = 1.0
"""How long one poll waits for messages that are known to be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters; what is None leaves none out."""

    topic: str | None = None
    consumer: str | None = None
    reason: str | None = None
    key: bytes | None = None
    origin: Origin | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is meant."""
        wanted = (self.topic, self.consumer, self.reason, self.key, self.origin)
        has = (letter.origin.topic, letter.origin.consumer, letter.reason, letter.key, letter.origin)
        return all(one is None or one == other for one, other in zip(wanted, has, strict=True))


async def waiting_letters(broker: Broker, topics: Sequence[str]) -> list[DeadLetter]:
    """Read the letters that wait now of these topics, key by key, oldest first in each.

    Raises:
        UnavailableError: The broker doesn't answer.
        NotFoundError: A dead-letter topic doesn't exist.
    """
    reader = await broker.replaying_consumer(topics=[f"{topic}{DEAD_LETTERS_SUFFIX}" for topic in topics])
    try:
        letters = OutstandingLetters()
        while any((await reader.lag()).values()):
            for message in await reader.poll(messages_max=READ_MESSAGES_MAX, timeout_seconds=READ_SECONDS):
                letters.add(message)
        return letters.waiting()
    finally:
        await reader.close()


def to_redrive(letters: Sequence[DeadLetter], wanted: LetterFilter, *, letters_max: int | None) -> list[DeadLetter]:
    """Choose the letters that match, and those that must go before them: the older ones of the same key.

    `letters_max` bounds the letters that match; the others of their keys come on top.
    """
    matching = [letter for letter in letters if wanted.matches(letter)][:letters_max]
    last_of_key = {_key_of(letter): letter.origin for letter in matching}
    chosen, done = [], set()
    for letter in letters:
        key = _key_of(letter)
        if key in last_of_key and key not in done:
            chosen.append(letter)
            if letter.origin == last_of_key[key]:
                done.add(key)
    return chosen


async def redrive(letters: Sequence[DeadLetter], producer: Producer) -> None:
    """Hand letters to their consumers once more, in order.

    Raises:
        UnavailableError: Some may be published and some not; redrive again.
    """
    for first in range(0, len(letters), READ_MESSAGES_MAX):
        await producer.publish([redriven(letter) for letter in letters[first : first + READ_MESSAGES_MAX]])


async def discard(letters: Sequence[DeadLetter], producer: Producer) -> None:
    """Decide that letters never take effect; those behind them no longer wait for them.

    Raises:
        UnavailableError: Some may be given up and some not; discard again.
    """
    await producer.publish([settled(letter, DISCARDED) for letter in letters])


def _key_of(letter: DeadLetter) -> tuple[str, str, bytes]:
    return letter.origin.consumer, letter.origin.topic, letter.key
