"""Somebody who watches a wallet over the WebSocket and, whatever happens, comes back with the last sequence seen."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from services.embedded.public_api import Event, Notification, ReloadRequired
from services.runtime.errors import TradeFlowError
from tests.support.public_shop import Person, until

COME_BACK_SECONDS = 0.2
"""After a connection was lost."""


@dataclass
class WalletListener:
    """One person's."""

    person: Person
    last_sequence: int = 0
    connections: int = 0
    reloads: int = 0
    wrong: list[str] = field(default_factory=list)
    _seen: set[UUID] = field(default_factory=set)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            self.connections += 1
            try:
                async with aclosing(self.person.client.notifications(self.last_sequence)) as said:
                    async for notification in said:
                        self._hear(notification)
            except TradeFlowError:
                # Whatever it is, the wallet is still there: come back.
                pass
            await asyncio.sleep(COME_BACK_SECONDS)

    def _hear(self, notification: Notification) -> None:
        match notification:
            case Event(event=event):
                if event.sequence != self.last_sequence + 1 or event.event_id in self._seen:
                    self.wrong.append(f"{self.person.email}: {event.sequence} after {self.last_sequence}: {event}")
                self._seen.add(event.event_id)
                self.last_sequence = event.sequence
            case ReloadRequired(last_sequence=newest):
                self.reloads += 1
                self.last_sequence = newest
            case _:
                pass

    async def until_heard(self, sequence: int, *, seconds_max: float) -> None:
        """Wait until the event with this sequence was heard."""

        async def look() -> int:
            return self.last_sequence

        await until(look, lambda seen: seen >= sequence, f"event {sequence}", seconds_max=seconds_max)
