"""Opens many WebSockets of wallets and reads what they are sent, with what each costs the gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psutil
from websockets.asyncio.client import ClientConnection, connect

OPENING_AT_ONCE = 50
"""Handshakes under way: more would wait for each other."""

SETTLE_SECONDS = 2.0
"""After which memory is looked at: what handshakes took is given back or not."""


@dataclass(slots=True)
class Watchers:
    """Open connections, and when they were sent something."""

    sockets: list[ClientConnection] = field(default_factory=list)
    received_at_seconds: list[float] = field(default_factory=list)

    async def read_all(self) -> None:
        """Read on all connections until cancelled."""
        async with asyncio.TaskGroup() as group:
            for socket in self.sockets:
                group.create_task(self._read(socket))

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            await socket.recv()
            self.received_at_seconds.append(time.perf_counter())


@asynccontextmanager
async def open_watchers(gateway_url: str, tokens: Sequence[str]) -> AsyncIterator[Watchers]:
    """Open one connection for each token, read each one's hello, and close all at the end."""
    watchers = Watchers()
    slots = asyncio.Semaphore(OPENING_AT_ONCE)
    url = f"ws{gateway_url.removeprefix('http')}/ws/notifications"
    async with AsyncExitStack() as stack:

        async def open_one(token: str) -> None:
            async with slots:
                headers = {"Authorization": f"Bearer {token}"}
                opening = connect(url, additional_headers=headers, compression=None, ping_interval=None, proxy=None)
                socket = await opening
                stack.push_async_callback(socket.close)
                await socket.recv()
                watchers.sockets.append(socket)

        await asyncio.gather(*(open_one(token) for token in tokens))
        yield watchers


async def settled_rss_bytes(process_id: int) -> int:
    """Tell how much memory a process has in hand after a moment of rest."""
    await asyncio.sleep(SETTLE_SECONDS)
    return int(psutil.Process(process_id).memory_info().rss)
