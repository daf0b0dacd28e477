"""(d) Our service as a process of its own, called over gRPC: one by one, by our client, by a stream, and in batches.

The service does all it does in production: it verifies tokens, serves metrics and publishes events. Its broker is a
file in memory, as a broker's disk is another machine's. Its callers (grpc_callers.py) run in this process, on the
same machine, and take their share of it. At last a second replica stands beside it: our client has both to choose from,
and batches are spread over both.
"""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import grpc

from services.orders.outbound.ledger_calls import LEDGER_SERVICE, SERVICE_CONFIG, LedgerCalls
from services.runtime.clock import SystemClock
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_leader import to_leader
from services.runtime.service_tokens import ServiceTokens
from tests.bench.ledger.grpc_callers import (
    BATCHES,
    BATCHES_OF_TWO,
    ONE_CALLER,
    SINGLE_CALLS,
    STREAM,
    THROUGH_CLIENT,
    TWO_REPLICAS,
    Door,
    Way,
)
from tests.bench.ledger.in_process import fill_wallets
from tests.bench.ledger.measuring import Measurement, Meter, Samples
from tests.bench.ledger.servers import MEMORY_FOLDER, Server
from tests.bench.ledger.workload import UNIFORM, WORKLOADS
from tests.support.issuer import Issuer, running_issuer

SCHEMA = "bench_service"

UNPUBLISHED = """
    SELECT (SELECT MAX(sequence) FROM outbox) - COALESCE((SELECT MAX(cursor_sequence) FROM outbox_relays), 0)
"""
"""How many events wait for the relay."""

WARM_SECONDS = 3.0
"""How long batches come before single calls are measured, so that most wallets are known."""

DRAIN_POLL_SECONDS = 0.1

DRAIN_SECONDS_MAX = 120.0
"""How long the relay may take for what a piece has left."""

CLIENT = "treasury"
"""The service whose tokens the callers have."""

CALL_SECONDS_MAX = 30.0


async def measure_over_grpc(server: Server, meter: Meter, results: list[Measurement], *, seconds: float) -> None:
    """Start the service on a schema of its own and measure each way of calling it."""
    await server.make_schema(SCHEMA)
    await fill_wallets(server, SCHEMA)
    async with (
        running_issuer() as issuer,
        _service(server, issuer) as (process, target),
        grpc.aio.insecure_channel(target) as channel,
        aclosing(ServiceTokens(issuer.token_url, CLIENT, "any", SystemClock())) as tokens,
    ):
        door = Door(
            channel,
            metadata=tuple(call_metadata(issuer.service_token(CLIENT))),
            client=LedgerCalls(channel, tokens, deadline_seconds=CALL_SECONDS_MAX),
        )
        run = _Run(door, server, meter, results, process.pid)
        for workload in WORKLOADS:
            await run.warm(BATCHES, workload, seconds=WARM_SECONDS)
            for way in (SINGLE_CALLS, THROUGH_CLIENT, STREAM, BATCHES):
                await run.measure(way, workload, seconds=seconds)
        # Last: by now the ledger knows all wallets, as the baseline's database has all of its rows in memory.
        await run.measure(ONE_CALLER, UNIFORM, seconds=seconds / 2)
        async with (
            _service(server, issuer, REPLICAS_GRPC_TARGET=target) as (_, other_target),
            _client_of(tokens, target, other_target) as client,
            open_channel(f"ipv4:{target},{other_target}") as both,
        ):
            other = replace(run, door=replace(door, client=client, channel=both))
            await other.measure(TWO_REPLICAS, UNIFORM, seconds=seconds)
            await other.measure(BATCHES_OF_TWO, UNIFORM, seconds=seconds)


@asynccontextmanager
async def _client_of(tokens: ServiceTokens, *targets: str) -> AsyncIterator[LedgerCalls]:
    """Open a client as orders has it, once it knows who leads."""
    target = f"ipv4:{','.join(targets)}"
    async with (
        open_channel(target, service_config=SERVICE_CONFIG) as channel,
        open_channel(target, service_config=to_leader(LEDGER_SERVICE)) as leading,
    ):
        async with asyncio.timeout(CALL_SECONDS_MAX):
            while (state := leading.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                await leading.wait_for_state_change(state)
        yield LedgerCalls(channel, tokens, deadline_seconds=CALL_SECONDS_MAX, leading=leading)


@dataclass(frozen=True, slots=True)
class _Run:
    """Measures calls of one service, each piece once all events of the one before it are published."""

    door: Door
    server: Server
    meter: Meter
    results: list[Measurement]
    service_pid: int

    async def measure(self, way: Way, workload: str, *, seconds: float) -> None:
        """Let callers call at once; what they send is made before that."""
        requests = way.prepared(workload, seconds)
        await self._published()
        async with self.meter.measure(way.piece, workload, self.results, service_pid=self.service_pid) as samples:
            await asyncio.gather(*[way.call(self.door, some, samples, seconds) for some in requests])
        for answered in samples.answers:
            way.require_receipts(answered)

    async def warm(self, way: Way, workload: str, *, seconds: float) -> None:
        """Let one caller call, unmeasured."""
        await way.call(self.door, way.requests(workload, way.callers), Samples(), seconds)

    async def _published(self) -> None:
        """Wait until the relay has nothing left to do: else a piece would pay for the one before it."""
        async with self.server.cursor(SCHEMA) as cursor, asyncio.timeout(DRAIN_SECONDS_MAX):
            while True:
                await cursor.execute(UNPUBLISHED)
                ((unpublished,),) = await cursor.fetchall()
                if unpublished <= 0:
                    return
                await asyncio.sleep(DRAIN_POLL_SECONDS)


@asynccontextmanager
async def _service(server: Server, issuer: Issuer, **more: str) -> AsyncIterator[tuple[Process, str]]:
    """Run the service, and tell where its gRPC door is."""
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
        settings = {
            "DATABASE_URL": server.url(SCHEMA),
            "BROKER_URL": f"sqlite:///{folder}/broker.db",
            "ISSUER": issuer.issuer,
            "JWKS_URL": issuer.jwks_url,
            "HTTP_PORT": "0",
            "GRPC_PORT": "0",
            "LOG_LEVEL": "WARNING",
            **more,
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
