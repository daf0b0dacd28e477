"""A TCP proxy that loses connections where a test says: a packet before it arrives, or its answer."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class CutConnection:
    """Forwards to a server; `lose_request` and `lose_answer` name bytes at which the connection is cut, once."""

    def __init__(self, url: str) -> None:
        """Stand before the server of a URL; `url` is the proxy's own."""
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.lose_request: bytes | None = None
        self.lose_answer: bytes | None = None
        self.connections = 0
        self.requests = 0

    @property
    def url(self) -> str:
        """The same database, through the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{self._parts.username}@127.0.0.1:{port}"))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def point_at(self, url: str) -> None:
        """Forward new connections to another server, as a name does after a failover."""
        self._parts = urlsplit(url)

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream_reader, upstream_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        pair = (writer, upstream_writer)
        self._writers.update(pair)
        answers = asyncio.Event()
        answers.set()
        forwarding = [
            asyncio.create_task(self._requests(reader, upstream_writer, pair, answers)),
            asyncio.create_task(self._answers(upstream_reader, writer, pair, answers)),
        ]
        self._tasks.update(forwarding)
        await asyncio.wait(forwarding)
        for end in pair:
            end.transport.abort()
            with suppress(OSError):
                await end.wait_closed()
        self._writers.difference_update(pair)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        answers: asyncio.Event,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                self.requests += 1
                if self.lose_request is not None and self.lose_request in data:
                    self.lose_request = None
                    break
                if self.lose_answer is not None and self.lose_answer in data:
                    self.lose_answer = None
                    answers.clear()
                writer.write(data)
        if answers.is_set():
            for end in pair:
                end.transport.abort()

    async def _answers(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        answers: asyncio.Event,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                if not answers.is_set():
                    # The server has answered, so that what was asked has happened.
                    break
                writer.write(data)
        for end in pair:
            end.transport.abort()
