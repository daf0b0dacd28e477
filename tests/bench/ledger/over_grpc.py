"""(d) Our service as a process of its own, called over gRPC: one by one, by a stream, and in batches.

The service does all it does in production: it verifies tokens, publishes events to its broker, serves metrics. The
callers run in this process, on the same machine, and take their share of it.
"""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from services.runtime.grpc_auth import call_metadata
from services.runtime.ids import new_id
from tests.bench.ledger.in_process import CURRENCY, fill_wallets
from tests.bench.ledger.measuring import Measurement, Meter, Samples
from tests.bench.ledger.servers import Server
from tests.bench.ledger.workload import ACCOUNTS, UNIFORM, WORKLOADS, transfers, wallet_id
from tests.support.issuer import Issuer, running_issuer
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.ledger.v1 import commands_pb2, ledger_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

if TYPE_CHECKING:
    from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub  # the type stubs' own name

SCHEMA = "bench_service"

UNARY_CALLERS = 64
"""Callers at once, each with one call under way."""

BATCH_SIZE = 256
"""Commands of an ExecuteBatch."""

BATCH_CALLERS = 8
"""Callers of batches at once: two thousand commands under way."""

STREAMS = 2
"""Streams at once, each from one client."""

STREAM_MESSAGE_COMMANDS = 32
"""Commands that a stream's client puts into one message."""

STREAM_IN_FLIGHT = 1024
"""Commands of a stream that wait for their outcome."""

UNPUBLISHED = """
    SELECT (SELECT MAX(sequence) FROM outbox) - COALESCE((SELECT MAX(cursor_sequence) FROM outbox_relays), 0)
"""
"""How many events wait for the relay."""

DRAIN_POLL_SECONDS = 0.1

DRAIN_SECONDS_MAX = 120.0
"""How long the relay may take for what a piece has left."""

CLIENT = "treasury"
"""The service whose tokens the callers have."""

_WALLETS = [str(wallet_id(number)) for number in range(ACCOUNTS)]

Metadata = tuple[tuple[str, str], ...]

Way = Callable[["LedgerServiceAsyncStub", Metadata, str, int, Samples, float], Coroutine[None, None, None]]
"""A way of calling: a stub, metadata, a workload, a seed, what to count in, and for how long."""


async def measure_over_grpc(server: Server, meter: Meter, results: list[Measurement], *, seconds: float) -> None:
    """Start the service on a schema of its own and measure each way of calling it."""
    await server.make_schema(SCHEMA)
    await fill_wallets(server, SCHEMA)
    async with (
        running_issuer() as issuer,
        _service(server, issuer) as (process, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        run = _Run(LedgerServiceStub(channel), issuer, server, meter, results, process.pid)
        await run.measure("gRPC unary, one caller", UNIFORM, _call_one_by_one, callers=1, seconds=seconds / 2)
        for workload in WORKLOADS:
            await run.call(workload, _call_in_batches, 1, Samples(), 1.0)  # fills caches
            for piece, way, callers in (
                ("gRPC unary, 64 callers", _call_one_by_one, UNARY_CALLERS),
                ("gRPC stream", _stream, STREAMS),
                ("gRPC batches of 256", _call_in_batches, BATCH_CALLERS),
            ):
                await run.measure(piece, workload, way, callers=callers, seconds=seconds)


@dataclass(frozen=True, slots=True)
class _Run:
    """Measures calls of one service, each piece once all events of the one before it are published."""

    stub: "LedgerServiceAsyncStub"
    issuer: Issuer
    server: Server
    meter: Meter
    results: list[Measurement]
    service_pid: int

    async def measure(self, piece: str, workload: str, way: Way, *, callers: int, seconds: float) -> None:
        """Let some callers call at once."""
        await self._published()
        with self.meter.measure(piece, workload, self.results, service_pid=self.service_pid) as samples:
            await self.call(workload, way, callers, samples, seconds)

    async def call(self, workload: str, way: Way, callers: int, samples: Samples, seconds: float) -> None:
        """Call for some time."""
        metadata = _metadata(self.issuer)
        calls = [way(self.stub, metadata, workload, seed, samples, seconds) for seed in range(callers)]
        await asyncio.gather(*calls)

    async def _published(self) -> None:
        """Wait until the relay has nothing left to do: else a piece would pay for the one before it."""
        async with self.server.cursor(SCHEMA) as cursor, asyncio.timeout(DRAIN_SECONDS_MAX):
            while True:
                await cursor.execute(UNPUBLISHED)
                ((unpublished,),) = await cursor.fetchall()
                if unpublished <= 0:
                    return
                await asyncio.sleep(DRAIN_POLL_SECONDS)


def _metadata(issuer: Issuer) -> Metadata:
    return tuple(call_metadata(issuer.service_token(CLIENT)))


def _messages(workload: str, seed: int) -> Iterator[commands_pb2.Transfer]:
    for transfer in transfers(workload, seed):
        amount = transfer.amount_minor
        yield commands_pb2.Transfer(
            idempotency_key=str(new_id()),
            legs=[
                ledger_pb2.TransferLeg(
                    wallet_id=_WALLETS[transfer.payer], amount=Money(amount_minor=-amount, currency=CURRENCY)
                ),
                ledger_pb2.TransferLeg(
                    wallet_id=_WALLETS[transfer.payee], amount=Money(amount_minor=amount, currency=CURRENCY)
                ),
            ],
        )


async def _call_one_by_one(
    stub: "LedgerServiceAsyncStub", metadata: Metadata, workload: str, seed: int, samples: Samples, seconds: float
) -> None:
    source = _messages(workload, seed)
    until = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < until:
        await stub.Transfer(messages.TransferRequest(command=next(source)), metadata=metadata)
        samples.add(time.perf_counter() - began_at)


async def _call_in_batches(
    stub: "LedgerServiceAsyncStub", metadata: Metadata, workload: str, seed: int, samples: Samples, seconds: float
) -> None:
    source = _messages(workload, seed)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        commands = [commands_pb2.Command(transfer=next(source)) for _ in range(BATCH_SIZE)]
        began_at = time.perf_counter()
        response = await stub.ExecuteBatch(messages.ExecuteBatchRequest(commands=commands), metadata=metadata)
        for outcome in response.outcomes:
            _require_receipt(outcome)
        samples.add(time.perf_counter() - began_at, BATCH_SIZE)


async def _stream(
    stub: "LedgerServiceAsyncStub", metadata: Metadata, workload: str, seed: int, samples: Samples, seconds: float
) -> None:
    """Keep a bounded number of commands under way, and note each message's time to its last outcome."""
    source = _messages(workload, seed)
    until = time.perf_counter() + seconds
    free = asyncio.Semaphore(STREAM_IN_FLIGHT // STREAM_MESSAGE_COMMANDS)
    sent_at: dict[int, float] = {}

    async def requests() -> AsyncIterator[messages.ExecuteStreamRequest]:
        number = 0
        while time.perf_counter() < until:
            await free.acquire()
            commands = []
            for _ in range(STREAM_MESSAGE_COMMANDS):
                number += 1
                commands.append(
                    messages.NumberedCommand(number=number, command=commands_pb2.Command(transfer=next(source)))
                )
            sent_at[number] = time.perf_counter()
            yield messages.ExecuteStreamRequest(commands=commands)

    async for response in stub.ExecuteStream(requests(), metadata=metadata):
        for numbered in response.outcomes:
            _require_receipt(numbered.outcome)
            if (began_at := sent_at.pop(numbered.number, None)) is not None:
                samples.add(time.perf_counter() - began_at, STREAM_MESSAGE_COMMANDS)
                free.release()


def _require_receipt(outcome: commands_pb2.Outcome) -> None:
    if outcome.WhichOneof("outcome") != "receipt":
        raise RuntimeError(f"the ledger did not do its part: {outcome}")


@asynccontextmanager
async def _service(server: Server, issuer: Issuer) -> AsyncIterator[tuple[Process, str]]:
    """Run the service, and tell where its gRPC door is."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DATABASE_URL": server.url(SCHEMA),
            "BROKER_URL": f"sqlite:///{folder}/broker.db",
            "ISSUER": issuer.issuer,
            "JWKS_URL": issuer.jwks_url,
            "HTTP_PORT": "0",
            "GRPC_PORT": "0",
            "LOG_LEVEL": "WARNING",
        }
        environment = {f"TRADEFLOW_LEDGER_{name}": value for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.ledger", stdout=PIPE, env={**os.environ, **environment}
        )
        try:
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            yield process, line.split("gRPC")[1].split()[0]
        finally:
            process.terminate()
            await process.wait()
