"""Run the benchmark."""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from rich.console import Console
from rich.table import Table

from services.embedded.data_folder import DataFolder
from services.embedded.service_settings import ISSUER
from services.gateway.access_tokens import TokenIssuer
from services.gateway.keys import KeyRing
from services.runtime import event_loop
from services.runtime.clock import SystemClock
from services.runtime.log import configure_logging
from tests.bench.gateway.calling import Called, call_for
from tests.bench.gateway.watching import open_watchers, settled_rss_bytes
from tests.bench.ledger.report import machine
from tests.parts.home import parts_home
from tests.parts.opening import open_server
from tests.support.deposit_stream import DepositStream
from tests.support.part_urls import PartUrls
from tests.support.public_shop import public_shop
from tests.support.service_processes import ServiceProcesses, prepared_processes

RESULTS_FILE = Path(".bench/gateway.json")

CALLERS = 32
"""Connections that call without pause."""

WALLETS = 50
"""Those that the pushed events belong to: each connection watches one of them."""

STEADY_PER_SECOND = 200
"""Deposits a second of the piece whose latencies count: each is pushed to some connections."""

BURST_EVENTS = 500
"""Deposits in one call, of the piece that is as fast as it can be."""

PUSH_SECONDS_MAX = 120.0

SETTINGS = {"TRADEFLOW_GATEWAY_CONNECTIONS_PER_WALLET_MAX": "1000"}


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.gateway",
        description="Measure the gateway between orders, the ledger (on SQLite files) and a real Redis, each in a "
        "process of its own: proxied calls against the same calls made directly, pushes to WebSockets, memory of "
        "connections. All in one run: its figures compare with each other, not with another run's.",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--connections", type=int, default=2000, help="idle ones, whose memory is looked at")
    parser.add_argument("--watchers", type=int, default=200, help="connections that events are pushed to")
    parser.add_argument("--json", type=Path, default=RESULTS_FILE, help="where the figures go")
    arguments = parser.parse_args()
    configure_logging(level="WARNING", log_format="console")
    with _services() as services:
        event_loop.run(_measure(arguments, services))


@contextmanager
def _services() -> Iterator[ServiceProcesses]:
    """Start a Redis and one replica of each service, and forget them at the end."""
    servers = parts_home() / "servers"
    servers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=servers, prefix="bench-") as folder:
        part = open_server("redis", Path(folder) / "redis")
        try:
            data = Path(folder) / "data"
            urls = PartUrls.embedded(DataFolder(data), part.start(), {})
            with prepared_processes(data, urls, settings=SETTINGS) as services:
                services.start_all()
                yield services
        finally:
            part.wipe()


async def _measure(arguments: argparse.Namespace, services: ServiceProcesses) -> None:
    issuer = TokenIssuer(
        KeyRing(services.folder.keys),
        issuer=ISSUER,
        clock=SystemClock(),
        user_token_seconds=3600,
        service_token_seconds=3600,
    )
    figures: dict[str, Any] = {"machine": machine()}
    console = Console(width=120)
    figures["proxy"] = await _measure_proxy(services, arguments.seconds)
    figures["push"] = await _measure_push(services, issuer, arguments.watchers, arguments.seconds)
    figures["connections"] = await _measure_connections(services, issuer, arguments.connections)
    _show(console, figures)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=2))


async def _measure_proxy(services: ServiceProcesses, seconds: float) -> dict[str, Any]:
    """Read one product, directly at orders and through the gateway: alone, and by many callers."""
    async with public_shop(services.gateway_url, services.data) as shop:
        seller = await shop.person("merchant")
        path, token = f"/api/v1/products/{await shop.product(seller)}", seller.client.access_token
    figures: dict[str, Any] = {}
    for callers in (1, CALLERS):
        called: dict[str, Called] = {}
        for name, base in (("direct", services.http_url("orders")), ("proxied", services.gateway_url)):
            await call_for(f"{base}{path}", token, connections=callers, seconds=1.0)
            called[name] = await call_for(f"{base}{path}", token, connections=callers, seconds=seconds)
        figures[f"{callers} callers"] = {
            **{name: _told(one) for name, one in called.items()},
            "proxied / direct": called["proxied"].per_second / called["direct"].per_second,
            "added_p50_ms": called["proxied"].quantile_ms(0.5) - called["direct"].quantile_ms(0.5),
        }
    return figures


def _told(called: Called) -> dict[str, float]:
    return {
        "calls_per_second": called.per_second,
        "p50_ms": called.quantile_ms(0.5),
        "p99_ms": called.quantile_ms(0.99),
    }


async def _measure_push(
    services: ServiceProcesses, issuer: TokenIssuer, watchers_count: int, seconds: float
) -> dict[str, Any]:
    """Deposit into watched wallets: steadily, for the way's time, then in bursts, for the rate."""
    wallets = [str(uuid4()) for _ in range(WALLETS)]
    tokens = {wallet: issuer.user_token(user_id=wallet, roles=["buyer"]).token for wallet in wallets}
    each = [tokens[wallets[number % WALLETS]] for number in range(watchers_count)]
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{services.grpc_ports('ledger')[0]}") as channel,
        open_watchers(services.gateway_url, each) as watchers,
    ):
        stream = DepositStream(
            channel=channel,
            issuer=issuer,
            wallets=wallets,
            hot_wallet=wallets[0],
            hot_share=0.0,
            per_second=STEADY_PER_SECOND,
        )
        reading = asyncio.create_task(watchers.read_all())
        await stream.pay(wallets)
        await _all_pushed(watchers.received_at_seconds)
        ways = await _ways_of(stream, watchers.received_at_seconds, seconds)
        watchers.received_at_seconds.clear()
        began_at_seconds = time.perf_counter()
        while time.perf_counter() - began_at_seconds < seconds:
            await stream.pay([wallets[number % WALLETS] for number in range(BURST_EVENTS)])
        await _all_pushed(watchers.received_at_seconds)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    pushes = watchers.received_at_seconds
    return {
        "watchers": watchers_count,
        "pushes_per_second": len(pushes) / (max(pushes) - began_at_seconds),
        "commit_to_push_p50_ms": ways[len(ways) // 2] * 1000,
        "commit_to_push_p99_ms": ways[int(len(ways) * 0.99)] * 1000,
    }


async def _ways_of(stream: DepositStream, received_at_seconds: list[float], seconds: float) -> list[float]:
    """Pay into one wallet at a time, and tell how long after the ledger's answer each push came."""
    ways: list[float] = []
    ends_at_seconds = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < ends_at_seconds:
        received_at_seconds.clear()
        await stream.pay([stream.wallets[number % WALLETS]])
        answered_at_seconds = time.perf_counter()
        number += 1
        await asyncio.sleep(1 / STEADY_PER_SECOND)
        await _all_pushed(received_at_seconds, quiet_seconds=0.05)
        ways += [max(0.0, received - answered_at_seconds) for received in received_at_seconds]
    return sorted(ways)


async def _all_pushed(received_at_seconds: list[float], *, quiet_seconds: float = 1.0) -> None:
    """Wait until something came, and then nothing more for a while."""
    deadline_seconds = time.perf_counter() + PUSH_SECONDS_MAX
    while not received_at_seconds or time.perf_counter() - received_at_seconds[-1] < quiet_seconds:
        if time.perf_counter() > deadline_seconds:
            raise RuntimeError("nothing is pushed, or it has no end")
        await asyncio.sleep(0.005)


async def _measure_connections(services: ServiceProcesses, issuer: TokenIssuer, connections: int) -> dict[str, Any]:
    """Let people with wallets of their own watch, and nothing happen."""
    gateway = services.by_name["gateway"].process_id
    tokens = [issuer.user_token(user_id=str(uuid4()), roles=["buyer"]).token for _ in range(connections)]
    before_bytes = await settled_rss_bytes(gateway)
    async with open_watchers(services.gateway_url, tokens) as watchers:
        after_bytes = await settled_rss_bytes(gateway)
        count = len(watchers.sockets)
    return {
        "connections": count,
        "rss_before_mib": before_bytes / 2**20,
        "rss_with_connections_mib": after_bytes / 2**20,
        "rss_kib_per_idle_connection": (after_bytes - before_bytes) / count / 1024,
    }


def _show(console: Console, figures: dict[str, Any]) -> None:
    table = Table("piece", "figure", "value", title="The gateway, in one run")
    for piece, group in figures.items():
        for name, value in _flat(group):
            table.add_row(piece, name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)


def _flat(group: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    main()
