"""A wire that is longer: a proxy, in a process of its own, that holds every byte back for half a round trip each way.

`python -m tests.bench.ledger.delaying TARGET_PORT ROUND_TRIP_MS` runs it.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.runtime import event_loop

CHUNK_BYTES = 1 << 18

MILLIS = 1000


@asynccontextmanager
async def delayed(target_port: int, round_trip_ms: float) -> AsyncIterator[int]:
    """Run the proxy before a port of this machine, and tell its own port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.ledger.delaying", str(target_port), str(round_trip_ms), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        yield int(await asyncio.wait_for(process.stdout.readline(), 10))
    finally:
        process.terminate()
        await process.wait()


async def _serve(target_port: int, round_trip_ms: float) -> None:
    delay_seconds = round_trip_ms / 2 / MILLIS

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target_port)
        with suppress(ConnectionError):
            await asyncio.gather(
                _pass_on(reader, target_writer, delay_seconds), _pass_on(target_reader, writer, delay_seconds)
            )

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=CHUNK_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - whoever started it reads this
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    """Give each chunk on, late, in order; chunks that follow each other are under way together."""
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(CHUNK_BYTES):
        loop.call_later(delay_seconds, writer.write, chunk)
    loop.call_later(delay_seconds, writer.close)


if __name__ == "__main__":
    event_loop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
