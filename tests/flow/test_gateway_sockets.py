"""A wallet's events over WebSockets: who gets in, what is sent, and how connections end."""

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.runtime.broker.port import Message
from services.runtime.clock import SystemClock
from tests.support.clock import VirtualClock
from tests.support.gateway_world import TOPIC, GatewayWorld, gateway_world, message_of, sequences_of
from tests.support.ledger_stand_in import a_wallet_event
from tests.support.waiting import eventually


async def close_of(socket: ClientConnection) -> tuple[int, str]:
    """Read until the server closes, and return its code and reason."""
    async for _ in closing(socket):
        pass
    return socket.close_code or 0, socket.close_reason or ""


async def closing(socket: ClientConnection) -> AsyncIterator[object]:
    """Read until the connection is closed, in whatever way."""
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            yield message


async def ticket_of(world: GatewayWorld) -> str:
    return str((await world.http.post("/auth/ticket", headers=world.bearer())).json()["ticket"])


async def refusal_of(world: GatewayWorld, query: str, **options: Any) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as refused:
        async with world.connect(query, **options):
            pass
    return refused.value.response.status_code, bytes(refused.value.response.body or b"")


async def test_a_ticket_opens_one_connection(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        ticket = await ticket_of(world)

        async with world.connect(f"?ticket={ticket}", with_token=False) as socket:
            assert (await message_of(socket))["wallet_id"] == world.wallet_id
        async with world.connect(f"?ticket={ticket}", with_token=False) as socket:
            assert await close_of(socket) == (3000, "ticket_invalid")


async def test_a_ticket_that_many_use_at_once_opens_one_connection(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.another_gateway() as other:
        ticket = await ticket_of(world)

        async def first_word(caller: int) -> str:
            gateway = other if caller % 2 else None
            async with world.connect(f"?ticket={ticket}", with_token=False, gateway=gateway) as socket:
                try:
                    return str((await message_of(socket))["type"])
                except ConnectionClosed as closed:
                    return str(closed.rcvd.code) if closed.rcvd else "lost"

        words = await asyncio.gather(*(first_word(caller) for caller in range(16)))

    assert sorted(words) == ["3000"] * 15 + ["hello"]


@pytest.mark.parametrize("query", ["?ticket=unknown", "?access_token={token}", "?token={token}", ""])
async def test_without_a_ticket_or_a_header_nobody_gets_in(tmp_path: Path, query: str) -> None:
    async with (
        gateway_world(tmp_path) as world,
        world.connect(query.format(token=world.token()), with_token=False) as socket,
    ):
        code, reason = await close_of(socket)

    assert code == 3000
    assert reason in {"ticket_invalid", "token_missing"}


async def test_a_forged_header_is_closed_with_its_reason(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect(token="abc") as socket:
        assert await close_of(socket) == (3000, "token_malformed")


@pytest.mark.parametrize("sequence", ["-1", "1.5", "x", "", "99999999999999999", "٣"])
async def test_a_malformed_sequence_is_refused_before_the_handshake(tmp_path: Path, sequence: str) -> None:
    async with gateway_world(tmp_path) as world:
        status, body = await refusal_of(world, f"?last_sequence={sequence}")

    assert status == 400
    assert b"last_sequence_malformed" in body


async def test_hello_tells_the_newest_sequence_and_live_events_follow(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.happen(3)
        async with world.connect() as socket:
            assert await message_of(socket) == {"type": "hello", "wallet_id": world.wallet_id, "last_sequence": 3}
            await world.happen(2)
            assert await sequences_of(socket, 2) == [4, 5]


async def test_an_event_says_what_happened_and_the_balance_after_it(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        (event,) = await world.happen()
        message = await message_of(socket)

    assert message["event"] == {
        "event_id": event.event_id,
        "wallet_id": world.wallet_id,
        "sequence": 1,
        "recorded_at": "1970-01-01T00:00:00Z",
        "journal_sequence": 1001,
        "balance": {
            "wallet_id": world.wallet_id,
            "currency": "EUR",
            "posted": {"amount_minor": 100, "currency": "EUR"},
            "pending_outgoing": {"amount_minor": 0, "currency": "EUR"},
            "available": {"amount_minor": 100, "currency": "EUR"},
            "overdraft_limit": {"amount_minor": 0, "currency": "EUR"},
            "account_sequence": 1,
        },
        "kind": "funds_deposited",
        "fact": {"amount": {"amount_minor": 100, "currency": "EUR"}},
    }


async def test_other_peoples_events_are_not_sent(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        await world.publish(a_wallet_event("somebody-else", 1))
        await world.happen()

        assert await sequences_of(socket, 1) == [1]


async def test_a_client_that_was_away_gets_exactly_what_it_missed_from_redis(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        async with world.connect() as socket:
            await message_of(socket)
            await world.happen(5)
            await sequences_of(socket, 2)
        await eventually(lambda: history_reaches(world, 5))
        asked_before = len(world.ledger.calls)

        async with world.connect("?last_sequence=2") as socket:
            assert (await message_of(socket))["last_sequence"] == 5
            await world.happen()
            assert await sequences_of(socket, 4) == [3, 4, 5, 6]

        assert len(world.ledger.calls) == asked_before


async def history_reaches(world: GatewayWorld, sequence: int) -> bool:
    async with world.connect() as socket:
        return bool((await message_of(socket))["last_sequence"] >= sequence)


async def test_what_redis_does_not_have_comes_from_the_ledger(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger.record(world.wallet_id, 1200)  # before any gateway listened

        async with world.connect("?last_sequence=100") as socket:
            assert (await message_of(socket))["last_sequence"] == 1200
            await world.happen(2)
            assert await sequences_of(socket, 1102) == list(range(101, 1203))

        assert len(world.ledger.calls) >= 2


async def test_a_history_that_lost_its_tail_is_completed_by_the_ledger(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        async with world.connect() as socket:
            await message_of(socket)
            await world.happen(3)
            await sequences_of(socket, 3)

        world.ledger.record(world.wallet_id, 2)  # published while no replica was running
        async with (
            world.another_gateway() as newcomer,
            world.connect("?last_sequence=1", gateway=newcomer) as socket,
        ):
            assert (await message_of(socket))["last_sequence"] == 5
            assert await sequences_of(socket, 4) == [2, 3, 4, 5]


async def test_a_client_is_told_to_reload_when_nobody_has_what_it_missed(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger.record(world.wallet_id, 10)
        world.ledger.kept_from[world.wallet_id] = 8

        async with world.connect("?last_sequence=3") as socket:
            assert (await message_of(socket))["last_sequence"] == 10
            assert await message_of(socket) == {"type": "reload_required", "last_sequence": 10}
            await world.happen()
            assert await sequences_of(socket, 1) == [11]


async def test_a_client_that_is_ahead_of_the_ledger_is_told_to_reload(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger.record(world.wallet_id, 2)

        async with world.connect("?last_sequence=9") as socket:
            assert (await message_of(socket))["last_sequence"] == 2
            assert await message_of(socket) == {"type": "reload_required", "last_sequence": 2}
            await world.happen()
            assert await sequences_of(socket, 1) == [3]


async def test_after_a_restore_of_the_ledger_nobody_sees_what_was_lost_and_who_watches_is_told(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path) as world,
        world.another_gateway() as other,
        world.connect() as here,
        world.connect(gateway=other) as there,
    ):
        for socket in (here, there):
            assert (await message_of(socket))["last_sequence"] == 0
        lost = await world.happen(9)
        for socket in (here, there):
            await sequences_of(socket, 9)

        world.ledger.restore(world.wallet_id, 4)
        (again,) = await world.happen()

        for socket in (here, there):
            assert await message_of(socket) == {"type": "reload_required", "last_sequence": 5}
        await world.happen()
        for socket in (here, there):
            assert await sequences_of(socket, 1) == [6]
        async with world.connect("?last_sequence=3", gateway=other) as socket:
            assert (await message_of(socket))["last_sequence"] == 6
            seen = [(await message_of(socket))["event"]["event_id"] for _ in range(3)]
        assert seen[:2] == [lost[3].event_id, again.event_id]


async def test_a_replica_that_starts_after_a_restore_believes_the_ledger_and_not_redis(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        async with world.connect() as socket:
            await message_of(socket)
            await world.happen(9)
            await sequences_of(socket, 9)

            world.ledger.restore(world.wallet_id, 4)
            for asked in (2, 9):
                async with (
                    world.another_gateway() as newcomer,
                    world.connect(f"?last_sequence={asked}", gateway=newcomer) as late,
                ):
                    assert (await message_of(late))["last_sequence"] == 4
                    assert await message_of(late) == {"type": "reload_required", "last_sequence": 4}

        async with (
            world.another_gateway() as newcomer,
            world.connect("?last_sequence=2", gateway=newcomer) as late,
        ):
            await message_of(late)
            assert await sequences_of(late, 2) == [3, 4]


async def test_a_gap_between_live_events_is_filled_before_the_later_one_is_sent(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        events = world.ledger.record(world.wallet_id, 5)
        await world.publish(events[0])
        await world.publish(events[4])

        assert await sequences_of(socket, 5) == [1, 2, 3, 4, 5]


async def test_a_repeated_or_late_event_is_sent_once(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        events = world.ledger.record(world.wallet_id, 4)
        await world.publish(events[0], events[1], events[1], events[0], events[2], events[1])
        await world.publish(events[3])

        assert await sequences_of(socket, 4) == [1, 2, 3, 4]


async def test_a_gap_waits_for_a_ledger_that_is_away_for_a_moment(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        events = world.ledger.record(world.wallet_id, 3)
        world.ledger.is_down = True
        await world.publish(events[2])
        await eventually(lambda: world.ledger.refused_calls > 0)
        world.ledger.is_down = False

        assert await sequences_of(socket, 3) == [1, 2, 3]


async def test_a_malformed_message_of_the_topic_harms_nobody(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        rubbish = Message(topic=TOPIC, key=b"x", value=b"\xff\xff rubbish")
        await world.broker.producer().publish([rubbish])
        await world.happen()

        assert await sequences_of(socket, 1) == [1]


async def test_all_connections_of_a_wallet_get_its_events_on_all_replicas(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path) as world,
        world.another_gateway() as other,
        world.connect() as phone,
        world.connect() as laptop,
        world.connect(gateway=other) as tablet,
    ):
        for socket in (phone, laptop, tablet):
            await message_of(socket)
        await world.happen(3)

        assert [await sequences_of(socket, 3) for socket in (phone, laptop, tablet)] == [[1, 2, 3]] * 3


async def test_without_redis_events_still_flow_and_the_past_comes_from_the_ledger(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        await world.happen(2)
        world.redis.stop()

        async with world.connect("?last_sequence=0") as socket:
            assert (await message_of(socket))["type"] == "hello"
            await world.happen()
            assert await sequences_of(socket, 3) == [1, 2, 3]


async def test_with_neither_history_nor_ledger_the_handshake_is_refused_for_now(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.ledger.is_down = True
        status, _ = await refusal_of(world, "?last_sequence=0")

    assert status == 503


async def test_a_wallet_has_a_limited_number_of_connections(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path, connections_per_wallet_max=2) as world,
        world.connect() as first,
        world.connect() as second,
    ):
        await message_of(first)
        await message_of(second)
        status, body = await refusal_of(world, "")

    assert status == 429
    assert b"too_many_connections" in body


async def test_connections_are_rate_limited_before_the_handshake(tmp_path: Path) -> None:
    limit = {"name": "connections", "route_class": "socket", "per": "user", "limit": 1, "window_seconds": 3600}
    async with gateway_world(tmp_path, rate_limits=[limit]) as world:
        async with world.connect() as socket:
            await message_of(socket)
        status, body = await refusal_of(world, "")

    assert status == 429
    assert b"rate_limited" in body


async def test_an_idle_connection_hears_a_heartbeat(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, heartbeat_seconds=0.05) as world, world.connect() as socket:
        await message_of(socket)

        assert [await message_of(socket) for _ in range(2)] == [{"type": "heartbeat"}] * 2


async def test_what_clients_say_is_ignored_and_pings_are_answered(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.connect() as socket:
        await message_of(socket)
        await socket.send("hello?")
        await socket.send(b"\x00")
        await asyncio.wait_for(await socket.ping(), timeout=5)
        await world.happen()

        assert await sequences_of(socket, 1) == [1]


async def test_a_connection_ends_when_its_token_expires(tmp_path: Path) -> None:
    clock = VirtualClock(SystemClock().now())
    async with gateway_world(tmp_path, clock=clock, heartbeat_seconds=0.05) as world, world.connect() as socket:
        await message_of(socket)
        await clock.advance(601)

        assert await close_of(socket) == (3000, "token_expired")


async def test_a_connection_ends_soon_after_its_user_signed_out(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, heartbeat_seconds=0.05) as world:
        token = world.token()
        async with world.connect(token=token) as socket:
            await message_of(socket)
            await world.http.post("/auth/logout", json={"refresh_token": "x"}, headers=world.bearer(token))

            assert await close_of(socket) == (3000, "token_revoked")


async def test_all_connections_of_a_user_end_soon_after_a_sign_out_everywhere(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path, heartbeat_seconds=0.05) as world,
        world.another_gateway() as other,
        world.connect(token=world.token()) as here,
        world.connect(token=world.token(), gateway=other) as there,
        world.connect(token=world.token("somebody else")) as others,
    ):
        for socket in (here, there, others):
            await message_of(socket)

        await world.http.post("/auth/logout-everywhere", headers=world.bearer(world.token()))

        assert await close_of(here) == (3000, "token_revoked")
        assert await close_of(there) == (3000, "token_revoked")
        assert (await message_of(others))["type"] == "heartbeat"


async def test_a_client_that_does_not_read_is_closed_and_others_are_not_held_up(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, connection_queue_events_max=64) as world:
        address = urlsplit(world.gateway.http_url)
        narrow = sockets.socket()
        narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2048)
        narrow.settimeout(0)
        await asyncio.get_running_loop().sock_connect(narrow, (address.hostname, address.port))
        async with (
            world.connect(sock=narrow, max_queue=1, compression=None) as lazy,
            world.connect() as eager,
        ):
            await message_of(lazy)
            await message_of(eager)
            received: list[int] = []
            while not await ended_slow(world):
                await world.happen(500)
                received += await sequences_of(eager, 500)

            assert received == list(range(1, len(received) + 1))
            code, reason = await close_of(lazy)

    assert (code, reason) == (3008, "slow_consumer")


async def ended_slow(world: GatewayWorld) -> bool:
    metrics = (await world.http.get("/metrics")).text
    return 'tradeflow_gateway_connection_endings_total{reason="slow_consumer"} 1.0' in metrics


async def test_at_shutdown_connections_are_told_and_closed_as_restarting(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        async with world.another_gateway() as other:
            connection = world.connect(gateway=other)
            socket = await connection.__aenter__()
            await message_of(socket)

        assert await message_of(socket) == {"type": "draining"}
        assert await close_of(socket) == (1012, "draining")
        await connection.__aexit__(None, None, None)


async def test_a_gateway_with_connections_stops_within_seconds(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        loop = asyncio.get_running_loop()
        async with world.another_gateway() as other:
            connections = [world.connect(gateway=other) for _ in range(5)]
            opened = [await connection.__aenter__() for connection in connections]
            for socket in opened:
                await message_of(socket)
            began_at = loop.time()

        assert loop.time() - began_at < 3
        for connection in connections:
            await connection.__aexit__(None, None, None)
