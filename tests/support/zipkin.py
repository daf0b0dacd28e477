"""Traces read back from Zipkin by its API, as its own pages read them."""

from collections.abc import Sequence

import httpx

from tests.support.span_collector import Span

TRACE_SERVICES = ("LEDGER", "ORDERS", "GATEWAY")
"""Each sends its spans where a setting of its own says."""


def traced_to(zipkin_url: str) -> dict[str, str]:
    """Return the settings with which all services send their spans to a Zipkin."""
    return {f"TRADEFLOW_{service}_TRACES_URL": f"zipkin+{zipkin_url}/api/v2/spans" for service in TRACE_SERVICES}


async def spans_of(zipkin_url: str, trace_id: str) -> list[Span]:
    """Read a trace; none are there before its first spans came."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        answer = await http.get(f"{zipkin_url}/api/v2/trace/{trace_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        spans: list[Span] = answer.raise_for_status().json()
        return spans


def way_to(span: Span, spans: Sequence[Span]) -> tuple[str, ...]:
    """Tell how it came to a span: each step's service and name, from the first that was recorded."""
    by_id = {one["id"]: one for one in spans}
    way: list[str] = []
    step: Span | None = span
    while step is not None:
        way.insert(0, f"{step['localEndpoint']['serviceName']}: {step['name']}")
        step = by_id.get(step.get("parentId", ""))
    return tuple(way)
