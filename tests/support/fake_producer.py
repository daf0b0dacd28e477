"""A producer that keeps what is published, fails when it is told to, and can be held up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.runtime.broker.port import Message
from services.runtime.errors import UnavailableError


class FakeProducer:
    """Fits the Producer port. Several may share one `log`, as producers share a broker."""

    def __init__(self, log: list[Message] | None = None) -> None:
        """Publish into a log of its own, or a shared one.

        `publishes_left` counts down, and at 0 one publish fails; `on_publish` runs at the beginning of each.
        """
        self.log: list[Message] = [] if log is None else log
        self.publishes_left: int | None = None
        self.on_publish: Callable[[], Awaitable[None]] | None = None
        self._may_publish = asyncio.Event()
        self._may_publish.set()
        self.held_up = asyncio.Event()

    def hold_up(self) -> None:
        """Let calls wait before they publish anything."""
        self._may_publish.clear()

    def let_go(self) -> None:
        """Let the calls that wait go on."""
        self._may_publish.set()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish one by one, so that others who publish at the same time come in between."""
        if not self._may_publish.is_set():
            self.held_up.set()
            await self._may_publish.wait()
        if self.on_publish is not None:
            await self.on_publish()
        for message in messages:
            if self.publishes_left == 0:
                self.publishes_left = None
                raise UnavailableError("the broker is away", reason="broker_away")
            if self.publishes_left is not None:
                self.publishes_left -= 1
            self.log.append(message)
            await asyncio.sleep(0)
