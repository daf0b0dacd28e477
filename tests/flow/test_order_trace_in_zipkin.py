"""One order's trace as an operator sees it in Zipkin: three processes, from the POST to the live event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.embedded.redis_server import serving_redis
from services.runtime.ids import new_id
from services.runtime.tracing import TraceContext
from tests.support.public_shop import Person, public_shop, until, until_state
from tests.support.real_parts import RealParts
from tests.support.real_platform import running_real_platform
from tests.support.service_processes import service_processes
from tests.support.span_collector import Span
from tests.support.zipkin import spans_of, traced_to, way_to

SECONDS_MAX = 60.0
"""Services send their spans every second, and Zipkin takes a moment; the machine may be busy."""

POSTED = ("gateway: post /api/v1/orders", "orders: post /api/v1/orders")

HELD = (*POSTED, "orders: ledger reserve_funds", "ledger: execute reserve_funds", "ledger: publish wallet-events")

CAPTURED = (*POSTED, "orders: publish order-events", "ledger: process order-events", "ledger: publish wallet-events")

SEEN = ("gateway: process wallet-events", "gateway: push wallet event")

WAYS = {(*HELD, *SEEN), (*CAPTURED, *SEEN), (*CAPTURED, "orders: process wallet-events")}
"""The hold reaches the browser, so does the capture, and orders learns of it."""


@asynccontextmanager
async def watching_wallet(person: Person) -> AsyncIterator[None]:
    """Keep a WebSocket open that is known to be live: it has shown the event of the person's first money."""
    is_live = asyncio.Event()

    async def read() -> None:
        async with aclosing(person.client.events(0)) as events:
            async for _ in events:
                is_live.set()

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await is_live.wait()
        yield
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def place_order(gateway_url: str, buyer: Person, sku: str, trace: TraceContext) -> UUID:
    """Post an order as a program does that has a trace of its own."""
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False, timeout=SECONDS_MAX) as http:
        answer = await http.post(
            "/api/v1/orders",
            json={"lines": [{"sku": sku, "quantity": 1}], "capture": "automatic"},
            headers={
                "authorization": f"Bearer {buyer.client.access_token}",
                "idempotency-key": str(new_id()),
                "traceparent": str(trace),
            },
        )
    return UUID(answer.raise_for_status().json()["order_id"])


async def assert_an_order_is_one_trace(gateway_url: str, data: Path, zipkin_url: str) -> None:
    trace = TraceContext.new()
    async with public_shop(gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000, stock=5)
        async with watching_wallet(buyer):
            await until_state(buyer, await place_order(gateway_url, buyer, sku, trace), "SETTLED")

            async def look() -> list[Span]:
                return await spans_of(zipkin_url, trace.trace_id)

            def has_all(spans: list[Span]) -> bool:
                return {way_to(span, spans) for span in spans} >= WAYS

            spans = await until(look, has_all, f"a trace with {WAYS}", seconds_max=SECONDS_MAX)

    assert {span["localEndpoint"]["serviceName"] for span in spans} == {"gateway", "orders", "ledger"}
    assert {span["parentId"] for span in spans} - {span["id"] for span in spans} == {trace.span_id}
    assert [span for span in spans if "error" in span.get("tags", {})] == []


@pytest.mark.timeout(240)
async def test_an_order_is_one_trace_over_the_embedded_parts(tmp_path: Path, zipkin_url: str) -> None:
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, settings=traced_to(zipkin_url)) as processes:
            await processes.start()

            await assert_an_order_is_one_trace(processes.gateway_url, processes.data, zipkin_url)


@pytest.mark.timeout(300)
async def test_an_order_is_one_trace_over_the_real_parts(
    shared_parts: RealParts, tmp_path: Path, zipkin_url: str
) -> None:
    with running_real_platform(shared_parts, tmp_path / "data", settings=traced_to(zipkin_url)) as platform:
        await assert_an_order_is_one_trace(platform.gateway_url, platform.data, zipkin_url)
