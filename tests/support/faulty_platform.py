"""The real platform with everything in reach: each process, each server, and what lies between them.

What a plan says is done here, and undone: a platform whose plan was carried out is whole again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import redis

from tests.parts.home import HOST
from tests.parts.server import Server
from tests.support.fault_links import Address, Link, Loss, address_of, every_second, serving_links
from tests.support.fault_plan import SERVICES, Fault, FaultKind, FaultPlan
from tests.support.part_urls import PartUrls
from tests.support.real_parts import RealParts
from tests.support.real_platform import RealPlatform
from tests.support.service_process import ServiceProcess
from tests.support.service_processes import IMPATIENT, prepared_processes

DATABASE_OPTIONS: Final = "statement_timeout_seconds=4&connect_timeout_seconds=2&acquire_timeout_seconds=4"
"""A database that hangs for the longest outage is given up on within it, and one that hangs for a moment is not."""

QUICK: Final = {
    **IMPATIENT,
    "TRADEFLOW_ORDERS_REQUEST_LEASE_SECONDS": "5",
    "TRADEFLOW_ORDERS_PASSWORD_MEMORY_KIBIBYTES": "64",
    "TRADEFLOW_ORDERS_PASSWORD_PASSES": "1",
}
"""Keys of requests that died are free within seconds, and people sign in quickly."""

DELAY_SECONDS: Final = 0.1
"""Each way: between continents."""

COMMIT_DELAY_SECONDS: Final = 0.5
"""A disk that is busy with others."""

STUTTER_SECONDS: Final = 0.25
"""How long a stuttering database hangs, and works in between."""

START_AGAIN_SECONDS: Final = 0.5
"""Before a service whose start failed is started again, as an orchestrator does."""


class Process(Protocol):
    """What a server and a service have in common."""

    def start(self) -> object: ...
    def kill(self) -> None: ...
    def stop(self) -> object: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass
class FaultyPlatform:
    """A platform, and what was done to it."""

    real: RealPlatform
    links: Mapping[str, Link]
    surprises: list[str] = field(default_factory=list)
    """What a fault came to that it must not come to."""
    failed_starts: Counter[str] = field(default_factory=Counter)
    """Starts that another fault was in the way of, by service."""
    _under_way: set[Fault] = field(default_factory=set)
    _turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """Whose turn it is at a target: what is still being started isn't ended by the target's next fault."""

    @property
    def servers(self) -> Mapping[str, Server]:
        """The parts, by the names of plans."""
        parts = self.real.parts
        return {
            "ledger-mysql": parts.ledger_mysql,
            "orders-mysql": parts.orders_mysql,
            "kafka": parts.kafka,
            "redis": parts.redis,
        }

    async def carry_out(self, plan: FaultPlan) -> None:
        """Do all that is planned, each in its time, and undo it."""
        async with asyncio.TaskGroup() as group:
            for fault in plan.faults:
                group.create_task(self._carry_out(fault))

    def deaths(self) -> list[str]:
        """Name the processes that are gone although nobody ended them."""
        services = [process for process in self.real.services.by_name.values() if not process.is_running()]
        gone = [f"{process.name} ended by itself with {process.exit_code}" for process in services]
        return gone + [f"{name} ended by itself" for name, server in self.servers.items() if not server.is_running()]

    async def _carry_out(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_seconds)
        begin, heal = self._doing(fault)
        async with self._turns[fault.target]:
            self._under_way.add(fault)
            try:
                await asyncio.gather(begin(), asyncio.sleep(fault.seconds))
            finally:
                await heal()
                self._under_way.discard(fault)

    def _doing(self, fault: Fault) -> tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]:
        """Tell how a fault begins and how it is healed."""
        if fault.target in self.links:
            link = self.links[fault.target]
            return _in_place(lambda: _spoil(link, fault.kind)), _in_place(link.heal)
        process = self._process(fault.target)
        match fault.kind:
            case FaultKind.KILL:
                return _in_thread(process.kill), lambda: self._start(fault)
            case FaultKind.RESTART:
                return lambda: self._stop(fault), lambda: self._start(fault)
            case FaultKind.PAUSE:
                return _in_thread(process.pause), _in_thread(process.resume)
            case FaultKind.STUTTER:
                return lambda: _stutter(process, fault.seconds), _in_thread(process.resume)
            case FaultKind.EMPTY:
                return _in_thread(self._empty_redis), _in_place(lambda: None)
            case _:
                raise AssertionError(f"nobody knows how {fault.target} {fault.kind}")

    def _process(self, target: str) -> Process:
        return self.real.replica(target) if target in SERVICES else self.servers[target]

    async def _stop(self, fault: Fault) -> None:
        process = self._process(fault.target)
        exit_code = await asyncio.to_thread(process.stop)
        if isinstance(process, ServiceProcess) and exit_code != 0:
            self.surprises.append(f"{fault.target} was asked to stop and ended with {exit_code}")

    async def _start(self, fault: Fault) -> None:
        """Start a process; a service that can't start because of another fault is started again and again."""
        process = self._process(fault.target)
        while True:
            others = self._under_way - {fault}
            try:
                await asyncio.to_thread(process.start)
            except AssertionError:
                others |= self._under_way - {fault}
                if not others:
                    raise
                self.failed_starts[fault.target] += 1
                await asyncio.sleep(START_AGAIN_SECONDS)
            else:
                return

    def _empty_redis(self) -> None:
        client = redis.Redis.from_url(self.real.parts.redis.url)
        client.flushall()
        client.close()


def _spoil(link: Link, kind: FaultKind) -> None:
    match kind:
        case FaultKind.DELAY:
            link.delay_seconds = DELAY_SECONDS
        case FaultKind.CUT:
            link.cut()
        case FaultKind.SLOW_COMMIT:
            link.commit_delay_seconds = COMMIT_DELAY_SECONDS
        case FaultKind.LOSE_COMMIT:
            link.lose(every_second(Loss.REQUEST))
        case FaultKind.LOSE_COMMIT_ANSWER:
            link.lose(every_second(Loss.ANSWER))
        case _:
            raise AssertionError(f"no connection {kind}")


async def _stutter(process: Process, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                process.pause()
                await asyncio.sleep(STUTTER_SECONDS)
                process.resume()
                await asyncio.sleep(STUTTER_SECONDS)


def _in_thread(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await asyncio.to_thread(call)

    return run


def _in_place(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        call()

    return run


@contextmanager
def faulty_platform(parts: RealParts, data: Path) -> Iterator[FaultyPlatform]:
    """Run the services on servers that run, with a link before whatever they call; none survives the body."""
    with parts.prepared() as urls, serving_links(_upstreams(urls)) as links:
        settings = {**QUICK, **_settings_through(links)}
        with prepared_processes(data, _urls_through(urls, links), settings=settings) as services:
            links["ledger-grpc"].upstream = (HOST, services.grpc_ports("ledger")[0])
            links["orders-http"].upstream = (HOST, services.http_ports("orders")[0])
            services.start_all()
            yield FaultyPlatform(real=RealPlatform(parts=parts, urls=urls, services=services), links=links)


def _upstreams(urls: PartUrls) -> dict[str, Address]:
    return {
        "ledger-database": address_of(urls.ledger_database),
        "orders-database": address_of(urls.orders_database),
        "redis-link": address_of(urls.redis),
        # The services' own ports are chosen later.
        "ledger-grpc": (HOST, 0),
        "orders-http": (HOST, 0),
    }


def _urls_through(urls: PartUrls, links: Mapping[str, Link]) -> PartUrls:
    return replace(
        urls,
        ledger_database=f"{links['ledger-database'].url(urls.ledger_database)}?{DATABASE_OPTIONS}",
        orders_database=f"{links['orders-database'].url(urls.orders_database)}?{DATABASE_OPTIONS}",
        redis=links["redis-link"].url(urls.redis),
    )


def _settings_through(links: Mapping[str, Link]) -> dict[str, str]:
    ledger = f"{HOST}:{links['ledger-grpc'].port}"
    return {
        "TRADEFLOW_ORDERS_LEDGER_GRPC_TARGET": ledger,
        "TRADEFLOW_GATEWAY_LEDGER_GRPC_TARGET": ledger,
        "TRADEFLOW_GATEWAY_ORDERS_HTTP_URL": f"http://{HOST}:{links['orders-http'].port}",
    }
