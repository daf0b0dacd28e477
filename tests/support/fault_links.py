"""TCP proxies between processes that a test can slow down, cut, and let lose what commits.

They live in a thread with a loop of its own: a test that waits for a server keeps no connection waiting.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final
from urllib.parse import urlsplit, urlunsplit

HOST: Final = "127.0.0.1"

READ_BYTES: Final = 1 << 18
"""Taken at once."""

COMMIT: Final = re.compile(rb"COMMIT(?!TED)")
"""MySQL's protocol carries statements as they are; READ COMMITTED is something else."""

TAIL_BYTES: Final = len(b"COMMIT") - 1
"""Of what was read before, since the word may arrive in two pieces."""

ANSWERED_SECONDS: Final = 0.1
"""Of silence after the first bytes of an answer: then all of it has come."""

TURNS_TO_CLOSE: Final = 3
"""Turns of the event loop in which an accepted connection is taken over, or an aborted one closes its socket."""

Address = tuple[str, int]
"""Host and port."""


class Loss(Enum):
    """What is lost of a COMMIT, together with its connection."""

    REQUEST = "it never arrives"
    ANSWER = "it happens, and nobody is told"


def address_of(url: str) -> Address:
    """Tell where a URL leads."""
    parts = urlsplit(url)
    return parts.hostname or HOST, parts.port or 0


LossOfCommit = Callable[[int], Loss | None]
"""Tells what becomes of a COMMIT, by its number; the first is 1."""


def every_second(loss: Loss) -> LossOfCommit:
    """Lose every second one: the others let a service go on in between."""
    return lambda number: loss if number % 2 else None


def only(number_lost: int, loss: Loss) -> LossOfCommit:
    """Lose one of them."""
    return lambda number: loss if number == number_lost else None


class Link:
    """One proxy. What is set here counts for whatever is sent from then on."""

    def __init__(self, upstream: Address, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on a port of its own, which stays the same."""
        self.delay_seconds = 0.0
        """Added to whatever is sent, both ways."""
        self.commit_delay_seconds = 0.0
        """Added to each COMMIT."""
        self.commits_lost = 0
        """How many, in all."""
        self._commits = 0
        self._loss_of_commit: LossOfCommit | None = None
        self.upstream = upstream
        """Whom it stands for."""
        self._loop = loop
        self._is_cut = False
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server((HOST, 0))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def url(self, upstream_url: str) -> str:
        """Name what lies behind, through this."""
        parts = urlsplit(upstream_url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}{HOST}:{self.port}"))

    async def serve(self) -> asyncio.Server:
        """Begin."""
        return await asyncio.start_server(self._serve, sock=self._listener)

    def cut(self) -> None:
        """Cut all connections, and each new one."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self.abort)

    def lose(self, loss_of_commit: LossOfCommit) -> None:
        """Lose COMMITs, counted from now on."""
        self._commits = 0
        self._loss_of_commit = loss_of_commit

    def heal(self) -> None:
        """Let everything pass as it is."""
        self._is_cut = False
        self.delay_seconds = self.commit_delay_seconds = 0.0
        self._loss_of_commit = None

    def abort(self) -> None:
        """Cut all connections; in the links' own thread."""
        for pair in list(self._pairs):
            pair.abort()

    def loss_of(self, data: bytes) -> Loss | None:
        """Tell what is to be lost of a packet's end."""
        if self._loss_of_commit is None or COMMIT.search(data) is None:
            return None
        self._commits += 1
        loss = self._loss_of_commit(self._commits)
        self.commits_lost += loss is not None
        return loss

    async def hold_up(self, data: bytes) -> None:
        """Take the time that the way takes."""
        seconds = self.delay_seconds
        if self.commit_delay_seconds and COMMIT.search(data) is not None:
            seconds += self.commit_delay_seconds
        if seconds:
            await asyncio.sleep(seconds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._is_cut:
                with suppress(OSError):
                    await self._forward(reader, writer)
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        pair = _Pair(self, writer, upstream_writer)
        self._pairs.add(pair)
        try:
            await pair.forward(reader, upstream_reader)
        finally:
            self._pairs.discard(pair)


class _Pair:
    """A connection of a client, and the one that it stands for."""

    def __init__(self, link: Link, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._link = link
        self._client = client
        self._server = server
        self._loses_answer = False

    def abort(self) -> None:
        for end in (self._client, self._server):
            end.transport.abort()

    async def forward(self, requests: asyncio.StreamReader, answers: asyncio.StreamReader) -> None:
        """Forward until one side ends, or is lost."""
        ways = {asyncio.create_task(self._requests(requests)), asyncio.create_task(self._answers(answers))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.abort()

    async def _requests(self, reader: asyncio.StreamReader) -> None:
        tail = b""
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                loss = self._link.loss_of(tail + data)
                if loss is Loss.REQUEST:
                    return
                self._loses_answer = self._loses_answer or loss is Loss.ANSWER
                await self._link.hold_up(tail + data)
                self._server.write(data)
                await self._server.drain()
                tail = data[-TAIL_BYTES:]

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self._loses_answer:
                    await _read_all(reader)
                    return
                await self._link.hold_up(b"")
                self._client.write(data)
                await self._client.drain()


async def _read_all(reader: asyncio.StreamReader) -> None:
    """Read until the server is silent: then it did all that it was asked for."""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(ANSWERED_SECONDS):
                if not await reader.read(READ_BYTES):
                    return


@contextmanager
def serving_links(upstreams: Mapping[str, Address]) -> Iterator[dict[str, Link]]:
    """Stand before servers, by name, while the body runs; they need not be there yet."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="links")
    thread.start()
    links = {name: Link(upstream, loop) for name, upstream in upstreams.items()}
    try:
        servers = [asyncio.run_coroutine_threadsafe(link.serve(), loop).result() for link in links.values()]
        yield links
    finally:
        asyncio.run_coroutine_threadsafe(_end(links, servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(links: Mapping[str, Link], servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    await _let_loop_turn()  # a task that was never begun would leave the socket open that was accepted for it
    for link in links.values():
        link.cut()
        link.abort()
    serving = asyncio.all_tasks() - {asyncio.current_task()}
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await _let_loop_turn()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


async def _let_loop_turn() -> None:
    for _ in range(TURNS_TO_CLOSE):
        await asyncio.sleep(0)
