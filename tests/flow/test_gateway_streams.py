"""A wallet's events as server-sent events: the WebSocket's twin."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from services.runtime.clock import SystemClock
from tests.support.clock import VirtualClock
from tests.support.gateway_world import GatewayWorld, gateway_world

PATH = "/api/v1/wallet/events"


class EventStream:
    """Reads a stream as a browser does."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, str | None, dict[str, Any]]:
        """Return the next event's name, id and data."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and "data" in fields:
                return fields["event"], fields.get("id"), msgspec.json.decode(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value
        raise EOFError

    async def sequences(self, count: int) -> list[int]:
        """Read events, and nothing but events."""
        events = [await self.next() for _ in range(count)]
        assert {(name, identity) for name, identity, _ in events} == {
            ("event", str(data["event"]["sequence"])) for _, _, data in events
        }
        return [data["event"]["sequence"] for _, _, data in events]


@asynccontextmanager
async def streaming(
    world: GatewayWorld, query: str = "", *, base_url: str = "", **headers: str
) -> AsyncIterator[EventStream]:
    sent = {**world.bearer(), **headers}
    async with world.http.stream("GET", f"{base_url}{PATH}{query}", headers=sent, timeout=10) as response:
        yield EventStream(response)


async def test_a_stream_begins_with_hello_and_goes_on_with_live_events(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.happen(2)
        async with streaming(world) as stream:
            hello = await stream.next()
            await world.happen(2)
            sequences = await stream.sequences(2)

    assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["cache-control"] == "no-store"
    assert hello == ("hello", "2", {"type": "hello", "wallet_id": world.wallet_id, "last_sequence": 2})
    assert sequences == [3, 4]


async def test_what_was_missed_comes_first_and_last_event_id_counts_more_than_the_query(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.happen(5)
        async with streaming(world, "?last_sequence=1") as stream:
            assert (await stream.next())[1] == "1"
            assert await stream.sequences(4) == [2, 3, 4, 5]
        async with streaming(world, "?last_sequence=1", **{"Last-Event-ID": "4"}) as stream:
            await stream.next()
            assert await stream.sequences(1) == [5]


async def test_a_stream_that_can_not_begin_is_a_problem(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        malformed = await world.http.get(f"{PATH}?last_sequence=x", headers=world.bearer())
        nobody = await world.http.get(PATH)
        world.ledger.is_down = True
        unknown = await world.http.get(PATH, headers=world.bearer())

        assert world_is_without_connections((await world.http.get("/metrics")).text)

    assert (malformed.status_code, malformed.json()["reason"]) == (400, "last_sequence_malformed")
    assert nobody.status_code == 401
    assert unknown.status_code == 503


def world_is_without_connections(metrics: str) -> bool:
    return 'tradeflow_gateway_connections{transport="sse"} 0.0' in metrics


async def test_a_ticket_opens_a_stream_once(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        ticket = (await world.http.post("/auth/ticket", headers=world.bearer())).json()["ticket"]
        async with world.http.stream("GET", f"{PATH}?ticket={ticket}") as response:
            assert response.status_code == 200
        again = await world.http.get(f"{PATH}?ticket={ticket}")

    assert (again.status_code, again.json()["reason"]) == (401, "ticket_invalid")


async def test_a_reload_is_told_with_the_sequence_to_go_on_from(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger.record(world.wallet_id, 10)
        world.ledger.kept_from[world.wallet_id] = 8
        async with streaming(world, "?last_sequence=1") as stream:
            await stream.next()
            reload = await stream.next()

    assert reload == ("reload_required", "10", {"type": "reload_required", "last_sequence": 10})


async def test_a_stream_says_why_it_ends_when_the_token_expires(tmp_path: Path) -> None:
    clock = VirtualClock(SystemClock().now())
    async with gateway_world(tmp_path, clock=clock, heartbeat_seconds=0.05) as world, streaming(world) as stream:
        await stream.next()
        assert (await stream.next())[:2] == ("heartbeat", None)
        await clock.advance(601)
        event = await stream.next()
        while event[0] == "heartbeat":
            event = await stream.next()

    assert event == ("close", None, {"type": "close", "code": 3000, "reason": "token_expired"})


async def test_at_shutdown_a_stream_is_told_and_ends(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, AsyncExitStack() as streams:
        async with world.another_gateway() as other:
            stream = await streams.enter_async_context(streaming(world, base_url=other.http_url))
            await stream.next()

        assert (await stream.next())[0] == "draining"
        assert (await stream.next())[2] == {"type": "close", "code": 1012, "reason": "draining"}
