"""Two replicas of the ledger behind one name, as a client of theirs sees it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest

from services.embedded.service_settings import free_port
from services.ledger.inbound.order_events import ORDER_EVENTS
from services.orders.outbound.ledger_calls import LEDGER_SERVICE, SERVICE_CONFIG, LedgerCalls
from services.orders.outbound.ledger_guards import LedgerGuards
from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import Message
from services.runtime.clock import SystemClock
from services.runtime.errors import NotFoundError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_leader import to_leader
from services.runtime.ids import new_id
from services.runtime.service_tokens import ServiceTokens
from tests.support.issuer import Issuer, running_issuer
from tests.support.scraped_metrics import scraped
from tests.support.service_process import ServiceProcess
from tests.support.waiting import eventually
from tradeflow.events.v1.order_event_pb2 import OrderEvent
from tradeflow.ledger.v1.commands_pb2 import Command, VoidHold
from tradeflow.ledger.v1.ledger_service_pb2 import GetHoldRequest

HOST = "127.0.0.1"

CALL_SECONDS_MAX = 60.0
"""Longer than a connection without life is kept, twice."""

START_SECONDS_MAX = 60.0
"""How long a replica that was started again may take to get calls, on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """Two processes on one book, and a client that knows both addresses."""

    processes: Sequence[ServiceProcess]
    http_urls: Sequence[str]
    calls: LedgerCalls
    guards: LedgerGuards
    leading: grpc.aio.Channel
    broker_url: str
    grpc_targets: Sequence[str]
    tokens: ServiceTokens

    async def call(self) -> None:
        """Run a command."""
        await self.calls.execute(a_void())

    async def look(self) -> None:
        """Read: ask for a hold that nobody knows."""
        with pytest.raises(NotFoundError):
            await self.calls.read(self.calls.stub.GetHold, GetHoldRequest(hold_id=str(new_id())))

    @asynccontextmanager
    async def calls_of(self, number: int) -> AsyncIterator[LedgerCalls]:
        """Call one replica alone."""
        async with open_channel(self.grpc_targets[number]) as channel:
            yield LedgerCalls(channel, self.tokens, deadline_seconds=CALL_SECONDS_MAX)

    async def handed_on(self, number: int, outcome: str) -> float:
        """Count the commands that a replica handed on to the leader."""
        return await scraped(self.http_urls[number], "tradeflow_ledger_commands_handed_on_total", outcome=outcome)

    async def answered(self, number: int) -> float:
        """Count what a replica answered since it started."""
        return await scraped(
            self.http_urls[number],
            "tradeflow_grpc_call_duration_seconds_count",
            method=f"/{LEDGER_SERVICE}/ExecuteBatch",
            code="OK",
        )

    async def answered_of(self, calls: int) -> list[float]:
        """Make so many calls, and tell how many of them each replica answered."""
        before = [await self.answered(number) for number in range(len(self.processes))]
        for _ in range(calls):
            await self.call()
        return [await self.answered(number) - some for number, some in enumerate(before)]

    async def handled(self, number: int) -> float:
        """Count the order events that a replica handled since it started."""
        return await scraped(self.http_urls[number], "tradeflow_consumer_handled_total")

    async def leads(self, number: int) -> bool:
        """Tell whether a replica leads."""
        return await scraped(self.http_urls[number], "tradeflow_ledger_leader") == 1

    def has_leader(self) -> bool:
        """Tell whether a replica is known to lead."""
        return self.leading.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def until_both_get_calls(self) -> None:
        """Call until each replica got calls."""
        for number in range(len(self.processes)):
            await eventually(partial(self.gets_calls, number), seconds_max=START_SECONDS_MAX)

    async def gets_calls(self, number: int) -> bool:
        """Call, and tell whether a replica got calls since it started."""
        await self.call()
        return await self.answered(number) > 0


def a_void() -> Command:
    """Void a hold that nobody knows."""
    key = str(new_id())
    return Command(void_hold=VoidHold(idempotency_key=key, hold_id=key, wallet_id=str(new_id())))


@asynccontextmanager
async def two_replicas(folder: Path, *, leader_first: bool = False) -> AsyncIterator[Replicas]:
    async with running_issuer() as issuer:
        ports = [(free_port(HOST), free_port(HOST)) for _ in range(2)]
        targets = [f"{HOST}:{grpc_port}" for _, grpc_port in ports]
        target = f"ipv4:{','.join(targets)}"
        processes = [
            ServiceProcess(
                f"ledger-{number}", "ledger", _environment(folder, issuer, *ports[number], target), folder / "stderr"
            )
            for number in range(2)
        ]
        with ExitStack() as ended:
            for process in processes:
                ended.callback(process.kill)
                await asyncio.to_thread(process.start)
            guards = LedgerGuards.make()
            async with (
                open_channel(target, service_config=SERVICE_CONFIG) as channel,
                open_channel(target, service_config=to_leader(LEDGER_SERVICE)) as leading,
            ):
                tokens = ServiceTokens(issuer.token_url, "orders", "secret", SystemClock())
                yield Replicas(
                    processes=processes,
                    http_urls=[f"http://{HOST}:{http_port}" for http_port, _ in ports],
                    calls=LedgerCalls(
                        channel,
                        tokens,
                        deadline_seconds=CALL_SECONDS_MAX,
                        leading=leading if leader_first else None,
                        guards=guards,
                    ),
                    guards=guards,
                    leading=leading,
                    broker_url=f"sqlite:///{folder}/broker.db",
                    grpc_targets=targets,
                    tokens=tokens,
                )
                await tokens.aclose()


def _environment(folder: Path, issuer: Issuer, http_port: int, grpc_port: int, target: str) -> dict[str, str]:
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "BROKER_URL": f"sqlite:///{folder}/broker.db",
        "ISSUER": issuer.issuer,
        "JWKS_URL": issuer.jwks_url,
        "HTTP_PORT": str(http_port),
        "GRPC_PORT": str(grpc_port),
        "REPLICAS_GRPC_TARGET": target,
        "LEASE_SECONDS": "2",
        "LOG_LEVEL": "WARNING",
    }
    return {f"TRADEFLOW_LEDGER_{name}": value for name, value in settings.items()}


@pytest.mark.ci
@pytest.mark.timeout(240)  # ten seconds alone
async def test_calls_are_spread_over_replicas_and_go_on_while_one_is_dead(tmp_path: Path) -> None:
    async with two_replicas(tmp_path) as replicas:
        await replicas.until_both_get_calls()

        calling = [asyncio.create_task(replicas.call()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(replicas.processes[0].kill)
        await asyncio.gather(*calling)
        for _ in range(20):
            await replicas.call()
        assert replicas.guards.circuit.state == "closed"

        await asyncio.to_thread(replicas.processes[0].start)
        await eventually(partial(replicas.gets_calls, 0), seconds_max=START_SECONDS_MAX)


@pytest.mark.ci
@pytest.mark.timeout(240)  # half a minute alone
async def test_a_replica_that_hangs_is_given_up_and_what_it_was_asked_is_asked_of_the_other(tmp_path: Path) -> None:
    async with two_replicas(tmp_path) as replicas:
        await replicas.until_both_get_calls()

        replicas.processes[0].pause()

        for _ in range(6):  # every other one goes to the replica that hangs, as long as it is taken for alive
            await replicas.look()


@pytest.mark.ci
@pytest.mark.timeout(240)  # fifteen seconds alone
async def test_commands_go_to_the_replica_that_leads_and_to_the_next_one_once_it_was_killed(tmp_path: Path) -> None:
    async with two_replicas(tmp_path, leader_first=True) as replicas:
        await eventually(replicas.has_leader)
        shares = await replicas.answered_of(20)
        assert sorted(shares) == [0, 20]
        leader = shares.index(20)

        calling = [asyncio.create_task(replicas.call()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(replicas.processes[leader].kill)
        await asyncio.gather(*calling)
        await replicas.call()  # by one that doesn't lead yet
        await eventually(replicas.has_leader, seconds_max=START_SECONDS_MAX)
        assert replicas.guards.circuit.state == "closed"

        await asyncio.to_thread(replicas.processes[leader].start)
        shares = await replicas.answered_of(20)
        assert (shares[leader], shares[1 - leader]) == (0, 20)


@pytest.mark.ci
@pytest.mark.timeout(240)  # fifteen seconds alone
async def test_order_events_are_taken_by_the_replica_that_leads_and_by_the_next_one_once_it_was_killed(
    tmp_path: Path,
) -> None:
    async with two_replicas(tmp_path) as replicas:
        leader = 0 if await replicas.leads(0) else 1
        broker = open_broker(replicas.broker_url)
        await broker.producer().publish([_order_event() for _ in range(5)])
        await eventually(partial(_handled, replicas, leader, 5))
        assert await replicas.handled(1 - leader) == 0

        await asyncio.to_thread(replicas.processes[leader].kill)
        await broker.producer().publish([_order_event() for _ in range(5)])
        await eventually(partial(_handled, replicas, 1 - leader, 5), seconds_max=START_SECONDS_MAX)
        await broker.close()


async def _handled(replicas: Replicas, number: int, count: int) -> bool:
    return await replicas.handled(number) == count


def _order_event() -> Message:
    """Make a fact about an order that the ledger need do nothing about."""
    order_id = str(new_id())
    event = OrderEvent(event_id=str(new_id()), order_id=order_id)
    return Message(topic=ORDER_EVENTS, key=order_id.encode(), value=event.SerializeToString())


@pytest.mark.ci
@pytest.mark.timeout(240)  # twenty seconds alone
async def test_what_was_handed_on_to_a_leader_that_hangs_the_standby_does(tmp_path: Path) -> None:
    async with two_replicas(tmp_path) as replicas:
        await eventually(replicas.has_leader)
        leader = 0 if await replicas.leads(0) else 1
        standby = 1 - leader
        async with replicas.calls_of(standby) as calls:

            async def handed_on() -> bool:
                await calls.execute(a_void())
                return await replicas.handed_on(standby, "answered") > 0

            await eventually(handed_on, seconds_max=START_SECONDS_MAX)
            replicas.processes[leader].pause()
            await asyncio.gather(*[calls.execute(a_void()) for _ in range(20)])

        assert await replicas.handed_on(standby, "lost") > 0
