"""One trace from a buyer's POST to the live event, over three services and two topics."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.runtime import span_export
from services.runtime.errors import InvalidArgumentError, RefusedError
from services.runtime.ids import new_id
from services.runtime.span_export import recording_spans
from services.runtime.tracing import TraceContext, continued_trace, current_traceparent, describe_step, traced_call
from tests.support.platform import platform_here
from tests.support.public_shop import next_events, public_shop, until_state
from tests.support.span_collector import Span, SpanCollector, collecting_spans
from tests.support.waiting import eventually

TRACE = TraceContext.new()


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    with collecting_spans() as collector:
        yield collector


async def test_an_order_is_one_trace_through_all_services(
    tmp_path: Path, collector: SpanCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("LEDGER", "ORDERS", "GATEWAY"):
        monkeypatch.setenv(f"TRADEFLOW_{service}_TRACES_URL", collector.url)
    data = tmp_path / "data"
    async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
        buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000, stock=5)
        async with httpx.AsyncClient(base_url=running.gateway_url) as http:
            answer = await http.post(
                "/api/v1/orders",
                json={"lines": [{"sku": sku, "quantity": 1}], "capture": "automatic"},
                headers={
                    "authorization": f"Bearer {buyer.client.access_token}",
                    "idempotency-key": str(new_id()),
                    "traceparent": str(TRACE),
                },
            )
        answer.raise_for_status()
        await until_state(buyer, UUID(answer.json()["order_id"]), "SETTLED")
        await next_events(buyer, 4)

    names = {
        (span["localEndpoint"]["serviceName"], span["name"].lower()) for span in collector.of_trace(TRACE.trace_id)
    }
    assert collector.services_of(TRACE.trace_id) == {"gateway", "orders", "ledger"}
    assert {
        ("gateway", "post /api/v1/orders"),
        ("orders", "post /api/v1/orders"),
        ("orders", "ledger reserve_funds"),
        ("ledger", "execute reserve_funds"),
        ("orders", "publish order-events"),
        ("ledger", "process order-events"),
        ("ledger", "publish wallet-events"),
        ("orders", "process wallet-events"),
        ("gateway", "process wallet-events"),
    } <= names
    assert _roots(collector.of_trace(TRACE.trace_id)) == {TRACE.span_id}


async def test_orders_that_are_placed_at_once_keep_their_own_traces_and_a_refusal_is_no_error(
    tmp_path: Path, collector: SpanCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("LEDGER", "ORDERS", "GATEWAY"):
        monkeypatch.setenv(f"TRADEFLOW_{service}_TRACES_URL", collector.url)
    traces = [TraceContext.new() for _ in range(6)]
    data = tmp_path / "data"
    async with platform_here(data) as running, public_shop(running.gateway_url, data) as shop:
        buyer, poor, seller = await shop.person(funds_minor=50_000), await shop.person(), await shop.person("merchant")
        sku = await shop.product(seller, price_minor=1_000)
        async with httpx.AsyncClient(base_url=running.gateway_url) as http:
            answers = await asyncio.gather(
                *(
                    http.post(
                        "/api/v1/orders",
                        json={"lines": [{"sku": sku, "quantity": 1}], "capture": "automatic"},
                        headers={
                            "authorization": f"Bearer {(poor if number == 0 else buyer).client.access_token}",
                            "idempotency-key": str(new_id()),
                            "traceparent": str(trace),
                        },
                    )
                    for number, trace in enumerate(traces)
                )
            )

    assert [answer.status_code for answer in answers] == [422, *[201] * 5]
    for trace in traces:
        spans = collector.of_trace(trace.trace_id)
        (asked,) = [span for span in spans if span["name"] == "ledger reserve_funds"]
        (executed,) = [span for span in spans if span["name"] == "execute reserve_funds"]
        assert executed["parentId"] == asked["id"]
        assert executed["localEndpoint"]["serviceName"] == "ledger"
        assert [span["name"] for span in spans if span["name"].endswith("/ExecuteBatch")] == []
        assert [span["name"] for span in spans if "error" in span.get("tags", {})] == []
        assert _roots(spans) == {trace.span_id}


def _roots(spans: list[Span]) -> set[str]:
    """List the parents that aren't spans of the trace themselves."""
    return {span["parentId"] for span in spans} - {span["id"] for span in spans}


async def test_a_step_says_what_it_did_and_only_our_own_failures_are_errors(collector: SpanCollector) -> None:
    with recording_spans("shop", collector.url) as recorder:
        with pytest.raises(RefusedError), continued_trace(None, "refused", recorder=recorder):
            raise RefusedError("no funds", reason="insufficient_funds")
        with pytest.raises(KeyError), continued_trace(None, "failed", recorder=recorder):
            raise KeyError
        with continued_trace(str(TRACE), "unnamed", recorder=recorder):
            describe_step("named", {"http.route": "/things"})
            with traced_call("asked"):
                assert current_traceparent().split("-")[1] == TRACE.trace_id

    by_name = {span["name"]: span for span in collector.spans}
    assert "error" not in by_name["refused"].get("tags", {})
    assert "error" in by_name["failed"]["tags"]
    assert by_name["named"]["tags"]["http.route"] == "/things"
    assert by_name["asked"]["parentId"] == by_name["named"]["id"]
    assert by_name["asked"]["kind"] == "CLIENT"


async def test_what_a_caller_did_not_sample_is_not_recorded_and_goes_on_so(collector: SpanCollector) -> None:
    unsampled = f"00-{TRACE.trace_id}-{TRACE.span_id}-00"
    with recording_spans("shop", collector.url) as recorder, continued_trace(unsampled, "quiet", recorder=recorder):
        assert current_traceparent().endswith("-00")
        assert current_traceparent().split("-")[1] == TRACE.trace_id

    assert collector.spans == []


async def test_a_collector_that_is_away_hinders_nobody() -> None:
    with (
        recording_spans("shop", "zipkin+http://127.0.0.1:9/api/v2/spans") as recorder,
        continued_trace(None, "lost", recorder=recorder) as trace,
    ):
        assert current_traceparent() == str(trace)


def test_a_collector_that_hangs_holds_up_the_end_no_longer_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_export, "SEND_SECONDS_MAX", 0.5)
    monkeypatch.setattr(span_export, "END_SECONDS_MAX", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"zipkin+http://127.0.0.1:{hanging.getsockname()[1]}/api/v2/spans"
        with recording_spans("shop", url) as recorder:
            for _ in range(span_export.SPANS_WAITING_MAX):
                with continued_trace(None, "waits", recorder=recorder):
                    pass
            end_began_at_seconds = time.monotonic()

    assert time.monotonic() - end_began_at_seconds < 3


@pytest.mark.parametrize("url", ["http://zipkin:9411/api/v2/spans", "zipkin://host", "jaeger+http://host"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised, recording_spans("shop", url):
        pass

    assert raised.value.reason == "traces_url_malformed"


async def test_spans_are_sent_while_the_service_runs(collector: SpanCollector) -> None:
    with recording_spans("shop", collector.url) as recorder:
        with continued_trace(None, "early", recorder=recorder):
            pass
        await eventually(lambda: len(collector.spans) == 1)
