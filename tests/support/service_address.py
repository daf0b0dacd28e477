"""One address for the replicas of a service, as a Kubernetes Service is: who connects gets a replica that accepts."""

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.parts.home import HOST

CONNECT_SECONDS_MAX = 2.0
"""A replica that is there accepts at once."""

STOP_SECONDS_MAX = 10.0
"""Connections are aborted: it takes milliseconds."""

PIECE_BYTES = 1 << 16
"""Read and written at once."""


class ServiceAddress:
    """Forwards each connection to the next replica in turn that accepts; a replica that dies breaks its own."""

    def __init__(self, port: int, replica_ports: Sequence[int]) -> None:
        """Listen nowhere yet."""
        self._port = port
        self._replica_ports = tuple(replica_ports)
        self._turns = itertools.count()
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, listening: threading.Event, ended: asyncio.Event) -> None:
        """Forward until the end."""
        server = await asyncio.start_server(self._forward, HOST, self._port)
        listening.set()
        await ended.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        # One that is still looking for a replica has a connection that nobody closes but itself.
        forwarding = asyncio.all_tasks() - {asyncio.current_task()}
        if forwarding:
            await asyncio.wait(forwarding, timeout=CONNECT_SECONDS_MAX)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = await self._connected()
        if replica is None:
            writer.transport.abort()
            return
        replica_reader, replica_writer = replica
        ends = {writer, replica_writer}
        self._writers |= ends
        copies = [
            asyncio.ensure_future(_copy(reader, replica_writer)),
            asyncio.ensure_future(_copy(replica_reader, writer)),
        ]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.wait(copies)
        self._writers -= ends

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        turn = next(self._turns)
        for number in range(len(self._replica_ports)):
            port = self._replica_ports[(turn + number) % len(self._replica_ports)]
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(HOST, port), CONNECT_SECONDS_MAX)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


@contextmanager
def service_address(port: int, replica_ports: Sequence[int]) -> Iterator[None]:
    """Forward from a port to the replicas' ports while the body runs, in a thread: the body may block its own loop."""
    address, listening = ServiceAddress(port, replica_ports), threading.Event()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(address.serve(listening, ended))

    thread = threading.Thread(target=run, name=f"service-address-{port}", daemon=True)
    thread.start()
    assert listening.wait(STOP_SECONDS_MAX), f"nothing listens at {port}"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(STOP_SECONDS_MAX)
