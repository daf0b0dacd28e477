"""Watch wallets live over real WebSockets, and wait until something was seen."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import WalletEvent

Seen = Callable[[str, WalletEvent], None]
"""Called with the owner's name and each event, in order per wallet."""

EVENT_SECONDS_MAX = 20.0
"""How long an event may take; on a quiet machine it is there within a tenth of a second."""


class EventMissingError(Exception):
    """An awaited event did not come in time."""


class WalletWatch:
    """The live events of several wallets, from their very first."""

    def __init__(self, on_event: Seen) -> None:
        """Tell `on_event` of everything seen."""
        self._on_event = on_event
        self._seen: dict[str, list[WalletEvent]] = {}
        self._news = asyncio.Condition()
        self._readers: list[asyncio.Task[None]] = []

    def follow(self, name: str, client: TradeFlowClient) -> None:
        """Begin to watch a signed-in caller's wallet."""
        self._seen[name] = []
        self._readers.append(asyncio.create_task(self._read(name, client), name=f"wallet of {name}"))

    def events(self, name: str) -> tuple[WalletEvent, ...]:
        """Return what was seen of a wallet."""
        return tuple(self._seen[name])

    async def wait_for(self, name: str, kind: str) -> WalletEvent:
        """Wait until an event of a kind was seen, and return the newest.

        Raises:
            EventMissingError: It did not come in time, or the connection failed for good.
        """
        try:
            async with asyncio.timeout(EVENT_SECONDS_MAX), self._news:
                await self._news.wait_for(lambda: bool(self._of_kind(name, kind)))
        except TimeoutError as error:
            kinds = [event.kind for event in self._seen[name]]
            raise EventMissingError(f"{name} got no {kind} within {EVENT_SECONDS_MAX:.0f} s, only {kinds}") from error
        return self._of_kind(name, kind)[-1]

    async def stop(self) -> None:
        """Close all connections."""
        for reader in self._readers:
            reader.cancel()
        for reader in self._readers:
            with suppress(asyncio.CancelledError):
                await reader

    def _of_kind(self, name: str, kind: str) -> list[WalletEvent]:
        for reader in self._readers:
            if reader.done():
                reader.result()
        return [event for event in self._seen[name] if event.kind == kind]

    async def _read(self, name: str, client: TradeFlowClient) -> None:
        try:
            async for event in client.events(last_sequence=0):
                async with self._news:
                    self._seen[name].append(event)
                    self._on_event(name, event)
                    self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()
