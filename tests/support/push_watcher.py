"""One connection that watches a wallet on raw WebSockets, and comes back with the last sequence that it saw.

It knows what it was promised: the next event is the one after the last, or it is told to reload.
"""

import asyncio
import contextlib
import random
import socket as sockets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

RECEIVE_BUFFER_BYTES = 2048
"""Of who doesn't read: little lies on the way, and the gateway's queue fills soon."""

LAZY_SECONDS = 0.02
"""What a slow reader needs for each message."""

COME_BACK_SECONDS_MAX = 1.0
"""Half a second on average, so that not all who lost a gateway come at once."""

OPEN_SECONDS_MAX = 60.0
"""How long a handshake may take on a busy machine."""


class _Event(msgspec.Struct):
    sequence: int


class _Message(msgspec.Struct):
    type: str
    last_sequence: int = 0
    event: _Event | None = None


_decode = msgspec.json.Decoder(_Message).decode


@dataclass
class PushWatcher:
    """Somebody at one of several gateways: the first of them, as long as it answers."""

    wallet_id: str
    token: Callable[[], str]
    gateways: Sequence[str]
    is_reading: asyncio.Event
    """Cleared while this one doesn't read."""
    is_lazy: bool = False
    last_sequence: int = 0
    is_connected: bool = False
    connections: int = 0
    reloads: int = 0
    events: int = 0
    closings: Counter[int] = field(default_factory=Counter)
    drained: int = 0
    wrong: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            gateway = self.gateways[self.connections % len(self.gateways)]
            self.connections += 1
            try:
                await self._watch(gateway)
            except ConnectionClosed as closed:
                self.closings[closed.rcvd.code if closed.rcvd else 1006] += 1
            except (OSError, TimeoutError, InvalidHandshake) as error:
                self.closings[0] += 1
                if "401" in str(error) or "403" in str(error):
                    self.wrong.append(f"{self.wallet_id}: refused: {error}")
            self.is_connected = False
            await asyncio.sleep(random.uniform(0, COME_BACK_SECONDS_MAX))  # noqa: S311 - no secret

    async def _watch(self, gateway: str) -> None:
        query = f"last_sequence={self.last_sequence}"
        headers = {"Authorization": f"Bearer {self.token()}"}
        opening = connect(
            f"ws{gateway.removeprefix('http')}/ws/notifications?{query}",
            additional_headers=headers,
            compression=None,
            max_queue=1 if self.is_lazy else 16,
            open_timeout=OPEN_SECONDS_MAX,
            ping_interval=None,
            proxy=None,
            sock=await _narrow_socket(gateway) if self.is_lazy else None,
        )
        async with opening as socket:
            await self._listen(socket)

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            await self.is_reading.wait()
            if self.is_lazy:
                await asyncio.sleep(LAZY_SECONDS)
            message = _decode(await socket.recv())
            self.is_connected = True
            if message.event is not None:
                self._hear(message.event.sequence)
            elif message.type == "reload_required":
                self.reloads += 1
                self.last_sequence = message.last_sequence
            elif message.type == "draining":
                self.drained += 1

    def _hear(self, sequence: int) -> None:
        self.events += 1
        if sequence != self.last_sequence + 1:
            self.wrong.append(f"{self.wallet_id}: {sequence} after {self.last_sequence}")
        self.last_sequence = sequence


async def _narrow_socket(gateway: str) -> sockets.socket:
    """Connect a socket that takes little: its buffer has to be set before it connects."""
    address = urlsplit(gateway)
    narrow = sockets.socket()
    narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    narrow.setblocking(False)  # noqa: FBT003 - the library's signature
    try:
        await asyncio.get_running_loop().sock_connect(narrow, (str(address.hostname), address.port))
    except BaseException:
        narrow.close()
        raise
    return narrow


@contextlib.asynccontextmanager
async def running_on(runs: Sequence[Callable[[], Coroutine[None, None, None]]]) -> AsyncIterator[None]:
    """Let all run until the body ends; what one of them raised is raised then."""
    tasks = [asyncio.create_task(run()) for run in runs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [end for end in ends if isinstance(end, Exception)]
    if errors:
        raise ExceptionGroup("what ran beside the body", errors)
