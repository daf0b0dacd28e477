"""A consumer loop of the tests: what it reads, what handles it, and what was put aside."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from services.runtime.broker.port import Place, ReceivedMessage
from services.runtime.consumer_loop import ConsumerLoop, LoopSettings
from services.runtime.dead_letters import (
    DeadLetter,
    OutstandingLetters,
    redriven,
)
from services.runtime.errors import RefusedError, UnavailableError
from services.runtime.parking import Parking
from tests.support.clock import VirtualClock
from tests.support.fake_producer import FakeProducer
from tests.support.letters_reader import LettersReader


class FakeConsumer:
    """Fits the Consumer port: gives out prepared batches, and keeps what is committed."""

    def __init__(self, *batches: list[ReceivedMessage]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []
        self.poll_failures_left = 0
        self.commit_errors: list[UnavailableError] = []
        self.drained = asyncio.Event()
        self.lags: dict[Place, int] = {}

    async def lag(self) -> Mapping[Place, int]:
        return dict(self.lags)

    async def poll(self, *, messages_max: int, timeout_seconds: float) -> list[ReceivedMessage]:
        assert messages_max > 0
        assert timeout_seconds > 0
        if self.poll_failures_left:
            self.poll_failures_left -= 1
            raise UnavailableError("away")
        if self.batches:
            return self.batches.pop(0)
        self.drained.set()
        await asyncio.Event().wait()
        return []

    async def commit(self, messages: Sequence[ReceivedMessage]) -> None:
        if self.commit_errors:
            raise self.commit_errors.pop()
        self.committed += [message.offset for message in messages]

    async def close(self) -> None:
        """Nothing to leave."""


class Handler:
    """Keeps what took effect; fails as it is told, and then nothing of the batch takes effect."""

    def __init__(self, *, poison: Sequence[str] = (), error: Exception | None = None, failures: int = 0) -> None:
        self.effects: list[str] = []
        self.calls = 0
        self._poison = set(poison)
        self._error = error or RefusedError("no", reason="not_liked")
        self._failures_left = failures

    def mend(self) -> None:
        """Fail no more."""
        self._poison.clear()

    async def __call__(self, messages: list[ReceivedMessage]) -> None:
        self.calls += 1
        if self._failures_left:
            self._failures_left -= 1
            raise UnavailableError("later", reason="database_busy")
        values = [message.value.decode() for message in messages]
        if self._poison & set(values):
            raise self._error
        self.effects += values


def messages(*values: str, first_offset: int = 0, key: str | None = None) -> list[ReceivedMessage]:
    """Build messages that have keys of their own unless they share one."""
    return [
        ReceivedMessage(
            topic="topic",
            key=(key or value).encode(),
            value=value.encode(),
            headers={"event-id": value},
            partition=0,
            offset=offset,
        )
        for offset, value in enumerate(values, start=first_offset)
    ]


async def run_until_drained(loop: ConsumerLoop, consumer: FakeConsumer, clock: VirtualClock) -> None:
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(30):
        while not consumer.drained.is_set():
            await clock.advance(1)
    await stop(running)


async def stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def a_loop(
    consumer: FakeConsumer,
    handle: Callable[[list[ReceivedMessage]], Awaitable[None]],
    dead_letters: FakeProducer,
    clock: VirtualClock,
    *,
    dead_letters_max: int = 100,
) -> ConsumerLoop:
    settings = LoopSettings(dead_letters_max=dead_letters_max)
    return ConsumerLoop(consumer, handle, a_parking(dead_letters), clock=clock, settings=settings)


def a_parking(dead_letters: FakeProducer, *, consumer_name: str = "consumer") -> Parking:
    return Parking(dead_letters, LettersReader(dead_letters.log).opened, consumer_name=consumer_name)


def reasons(producer: FakeProducer) -> list[tuple[str, str]]:
    return [(message.value.decode(), message.headers["dlq-reason"]) for message in producer.log]


def waiting(producer: FakeProducer) -> list[DeadLetter]:
    letters = OutstandingLetters()
    for message in producer.log:
        letters.add(message)
    return letters.waiting()


def redriven_messages(*letters: DeadLetter, first_offset: int) -> list[ReceivedMessage]:
    """Give out what redriving publishes."""
    return [
        ReceivedMessage(
            topic=message.topic,
            key=message.key,
            value=message.value,
            headers=message.headers,
            partition=0,
            offset=offset,
        )
        for offset, message in enumerate(map(redriven, letters), start=first_offset)
    ]


async def a_poisoned_key(
    clock: VirtualClock, dead_letters: FakeProducer, *values: str, poison: str = "poison"
) -> list[DeadLetter]:
    """Let a process park messages of the key `k`, the poison first, and die; return its letters."""
    consumer = FakeConsumer(messages(poison, *values, key="k"))
    await run_until_drained(a_loop(consumer, Handler(poison=[poison]), dead_letters, clock), consumer, clock)
    return waiting(dead_letters)
