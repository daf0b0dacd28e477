"""What the gateway keeps in Redis: on fakeredis over TCP, on a real one, and on a real one that is a cluster.

The cluster has one node: it refuses keys of several slots in one command or script as larger ones do.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from services.gateway.outbound.redis_connection import RedisConnection, Script
from services.gateway.outbound.redis_rate_limiter import RedisRateLimiter
from services.gateway.outbound.redis_revocations import RedisRevocations
from services.gateway.outbound.redis_tickets import RedisTickets
from services.gateway.outbound.redis_wallet_history import RedisWalletHistory
from services.gateway.ports import RevokedToken, WalletNotice
from services.gateway.rate_policies import Quota, RatePolicy
from services.runtime.clock import SystemClock
from services.runtime.errors import UnavailableError
from tests.support.redis import FakeRedisServer, serving_redis
from tests.support.waiting import eventually

CALLERS = 64

NOW_MICROS = 1_800_000_000_000_000
"""As large as instants are now."""


REAL_KINDS = [pytest.param(name, marks=pytest.mark.part("redis")) for name in ("redis", "redis_cluster")]


@pytest.fixture(params=["fakeredis", *REAL_KINDS])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param != "fakeredis":
        yield request.getfixturevalue(f"{request.param}_url")
        return
    server = FakeRedisServer()
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
async def redis(url: str) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url)
    yield connection
    await connection.close()


def a_policy(*, limit: int, window_seconds: int = 3600, name: str = "writes") -> RatePolicy:
    return RatePolicy(name=name, route_class="any", per="user", limit=limit, window_seconds=window_seconds)


def a_quota(*, limit: int, window_seconds: int = 3600, name: str = "writes", caller: str = "u1") -> Quota:
    return Quota(policy=a_policy(limit=limit, window_seconds=window_seconds, name=name), caller=caller)


def notices(first: int, last: int, *, wallet_id: str = "w1", later: int = 0) -> list[WalletNotice]:
    return [
        WalletNotice(
            wallet_id=wallet_id,
            sequence=sequence,
            recorded_at_micros=NOW_MICROS + sequence + later,
            payload=b"\x00\r\n$" + str(sequence + later).encode(),
        )
        for sequence in range(first, last + 1)
    ]


async def test_a_script_runs_also_after_redis_forgot_it(redis: RedisConnection) -> None:
    script = Script("return {KEYS[1], tonumber(ARGV[1]) + 1}")

    assert await redis.script(script, ["k"], [41]) == [b"k", 42]
    await redis.command("SCRIPT", "FLUSH")
    assert await redis.script(script, ["k"], [1]) == [b"k", 2]


async def test_a_refused_command_leaves_the_connection_good(redis: RedisConnection) -> None:
    await redis.command("SET", "text", "x")

    with pytest.raises(UnavailableError):
        await redis.command("INCR", "text")
    assert await redis.command("GET", "text") == b"x"


async def test_a_burst_of_many_callers_gets_exactly_the_limit(url: str) -> None:
    limit = 20
    connections = [RedisConnection(url) for _ in range(2)]
    limiters = [RedisRateLimiter(connection) for connection in connections]

    answers = await asyncio.gather(*(limiters[caller % 2].take([a_quota(limit=limit)]) for caller in range(CALLERS)))

    allowed = [answer[0] for answer in answers if answer[0].allowed]
    assert len(allowed) == limit
    assert sorted(state.remaining for state in allowed) == list(range(limit))
    for connection in connections:
        await connection.close()


async def test_a_limit_in_a_dry_run_is_counted_and_stands_in_nobodys_way(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    dry = Quota(policy=replace(a_policy(limit=1, name="dry"), dry_run=True), caller="u1")
    real = a_quota(limit=3, name="real")

    answers = [await limiter.take([dry, real]) for _ in range(4)]

    assert [[state.allowed for state in states] for states in answers] == [
        [True, True],
        [False, True],
        [False, True],
        [False, False],
    ]
    assert [states[0].remaining for states in answers] == [0, 0, 0, 0]


async def test_quotas_of_a_user_and_of_an_address_are_taken_together(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    user, address = a_quota(limit=2, caller="u1"), a_quota(limit=1, name="address", caller="203.0.113.9")

    answers = [await limiter.take([user, address]) for _ in range(2)]
    (left,) = await limiter.take([user])

    assert [[state.allowed for state in states] for states in answers] == [[True, True], [True, False]]
    assert left.allowed


async def test_a_refused_call_is_told_when_the_next_one_fits(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    quota = a_quota(limit=2, window_seconds=3600)

    for _ in range(2):
        await limiter.take([quota])
    (state,) = await limiter.take([quota])

    assert not state.allowed
    assert state.remaining == 0
    assert 1795 < state.retry_after_seconds <= 1800
    assert 3595 < state.reset_seconds <= 3600


async def test_a_call_comes_free_after_its_interval(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    quota = a_quota(limit=5, window_seconds=1)
    for _ in range(5):
        assert (await limiter.take([quota]))[0].allowed
    assert not (await limiter.take([quota]))[0].allowed

    async def one_fits() -> bool:
        return (await limiter.take([quota]))[0].allowed

    await eventually(one_fits)


async def test_a_refused_call_counts_nowhere(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    narrow, wide = a_quota(limit=1, name="narrow"), a_quota(limit=10, name="wide")
    await limiter.take([narrow, wide])

    refused = await limiter.take([narrow, wide])
    (after,) = await limiter.take([wide])

    assert [state.allowed for state in refused] == [False, True]
    assert refused[1].remaining == 9
    assert after.remaining == 8


async def test_a_call_that_is_given_back_fits_again_and_no_more_than_that(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    narrow, wide = a_quota(limit=2, name="narrow"), a_quota(limit=9, name="wide")
    for _ in range(2):
        await limiter.take([narrow, wide])

    await limiter.give_back([narrow, wide])
    answers = [await limiter.take([narrow, wide]) for _ in range(2)]

    assert [states[0].allowed for states in answers] == [True, False]
    assert answers[0][1].remaining == 7


async def test_giving_back_what_was_never_taken_leaves_nothing(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    quota = a_quota(limit=1)

    await limiter.give_back([quota])
    await limiter.take([quota])
    for _ in range(2):
        await limiter.give_back([quota])

    assert await redis.command("DBSIZE") == 0
    assert [(await limiter.take([quota]))[0].allowed for _ in range(2)] == [True, False]


async def test_a_limit_that_got_a_shorter_window_holds_nobody_for_longer_than_that(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    strict, loose = a_quota(limit=3, window_seconds=3600), a_quota(limit=60, window_seconds=6)
    for _ in range(3):
        await limiter.take([strict])

    (refused,) = await limiter.take([loose])

    async def one_fits() -> bool:
        return (await limiter.take([loose]))[0].allowed

    assert not refused.allowed, "what was counted stays counted"
    assert 0 < refused.retry_after_seconds <= 0.1
    assert 5 < refused.reset_seconds <= 6
    await eventually(one_fits)


async def test_a_call_that_is_given_back_under_a_shorter_window_fits_again(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    strict, loose = a_quota(limit=3, window_seconds=3600), a_quota(limit=2, window_seconds=60)
    for _ in range(3):
        await limiter.take([strict])

    await limiter.give_back([loose])
    answers = [await limiter.take([loose]) for _ in range(2)]

    assert [state[0].allowed for state in answers] == [True, False]


async def test_a_limit_that_got_stricter_keeps_what_was_counted(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)
    loose, strict = a_quota(limit=60, window_seconds=60), a_quota(limit=2, window_seconds=3600)
    await limiter.take([loose])

    states = [(await limiter.take([strict]))[0] for _ in range(3)]

    assert sum(state.allowed for state in states) < 3
    assert states[-1].retry_after_seconds <= 1800


async def test_callers_do_not_use_up_each_others_quota(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)

    states = [await limiter.take([a_quota(limit=1, caller=caller)]) for caller in ("a", "b", "a")]

    assert [state[0].allowed for state in states] == [True, True, False]


async def test_a_limit_that_does_not_divide_its_window_is_exact_too(redis: RedisConnection) -> None:
    limiter = RedisRateLimiter(redis)

    states = [(await limiter.take([a_quota(limit=7, window_seconds=3600)]))[0] for _ in range(9)]

    assert [state.allowed for state in states] == [True] * 7 + [False] * 2


async def test_a_ticket_is_good_once_however_many_try_at_the_same_time(redis: RedisConnection) -> None:
    tickets = RedisTickets(redis)
    ticket = await tickets.issue("token.of.alice", lifetime_seconds=30)

    redeemed = await asyncio.gather(*(tickets.redeem(ticket) for _ in range(CALLERS)))

    assert [token for token in redeemed if token is not None] == ["token.of.alice"]


async def test_a_ticket_ends_by_itself(redis: RedisConnection) -> None:
    tickets = RedisTickets(redis)
    ticket = await tickets.issue("token", lifetime_seconds=1)

    async def redis_is_empty() -> bool:
        return not await redis.command("DBSIZE")

    await eventually(redis_is_empty)

    assert await tickets.redeem(ticket) is None


@pytest.mark.parametrize("ticket", ["", "unknown", "x" * 65, "ü", "*"])
async def test_a_ticket_that_was_never_issued_is_worth_nothing(redis: RedisConnection, ticket: str) -> None:
    assert await RedisTickets(redis).redeem(ticket) is None


async def test_redis_holds_neither_tickets_nor_tokens(redis: RedisConnection) -> None:
    ticket = await RedisTickets(redis).issue("eyJhbGciOi.secret.token", lifetime_seconds=30)

    (key,) = await redis.command("KEYS", "*")
    value = await redis.command("GET", key)

    assert ticket.encode() not in key
    assert b"secret" not in value


async def test_a_cache_of_revocations_that_was_never_filled_does_not_know(redis: RedisConnection) -> None:
    revocations = RedisRevocations(redis, SystemClock())

    assert await revocations.look_up(["t1"]) is None
    await revocations.mark_complete()
    assert await revocations.look_up(["t1"]) is False


async def test_one_of_several_names_is_enough_to_be_revoked(redis: RedisConnection) -> None:
    revocations = RedisRevocations(redis, SystemClock())
    expires_at = SystemClock().now() + timedelta(minutes=5)
    await revocations.add([RevokedToken(token_id="u1/0", expires_at=expires_at)])
    await revocations.mark_complete()

    assert await revocations.look_up(["t1", "u1/0"]) is True
    assert await revocations.look_up(["t1", "u1/1"]) is False


async def test_an_emptied_cache_of_revocations_says_that_it_does_not_know(redis: RedisConnection) -> None:
    revocations = RedisRevocations(redis, SystemClock())
    expires_at = SystemClock().now() + timedelta(minutes=5)
    await revocations.add([RevokedToken(token_id="t1", expires_at=expires_at)])
    await revocations.mark_complete()
    assert await revocations.look_up(["t1"]) is True

    await redis.command("FLUSHDB")

    assert await revocations.look_up(["t1"]) is None


async def test_a_revocation_is_kept_until_the_token_ends_and_its_leeway_is_over(redis: RedisConnection) -> None:
    revocations = RedisRevocations(redis, SystemClock())
    now = SystemClock().now()

    await revocations.add(
        [
            RevokedToken(token_id="young", expires_at=now + timedelta(seconds=300)),
            RevokedToken(token_id="old", expires_at=now - timedelta(seconds=60)),
        ]
    )

    (key,) = await redis.command("KEYS", "*revoked*:token:*")
    assert b"young" in key
    assert 300 < await redis.command("TTL", key) <= 330


async def test_a_history_keeps_events_in_order_whatever_order_they_came_in(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)

    await history.append([*notices(3, 4), *notices(1, 2)])
    page = await history.read("w1", after_sequence=1)

    assert page.newest_sequence == 4
    assert list(page.notices) == notices(2, 4)


async def test_an_event_that_is_written_by_several_replicas_is_in_the_history_once(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)

    await asyncio.gather(*(history.append(notices(1, 5)) for _ in range(3)))

    assert list((await history.read("w1", after_sequence=0)).notices) == notices(1, 5)


async def test_a_history_keeps_only_the_newest_events(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis, events_max=10)

    for first in range(1, 100, 7):
        await history.append(notices(first, first + 6))

    page = await history.read("w1", after_sequence=0)
    assert [notice.sequence for notice in page.notices] == list(range(96, 106))


async def test_a_batch_larger_than_the_history_leaves_its_newest_events(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis, events_max=10)

    await history.append(notices(1, 50))

    page = await history.read("w1", after_sequence=45)
    assert list(page.notices) == notices(46, 50)


async def test_an_unknown_wallet_has_an_empty_history(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)

    assert (await history.read("w1", after_sequence=None)).newest_sequence == 0
    assert (await history.read("w1", after_sequence=5)).notices == ()


@pytest.mark.parametrize(("lost", "first"), [((1, 9), 5), ((1, 9), 9), ((5, 9), 2), ((1, 9), 1)])
async def test_what_a_restored_ledger_numbers_again_begins_a_history_anew_and_stays(
    redis: RedisConnection, lost: tuple[int, int], first: int
) -> None:
    history = RedisWalletHistory(redis)
    await history.append(notices(*lost))
    again = notices(first, first + 1, later=1000)

    await history.append(again)
    await history.append(notices(*lost))  # by another replica, which is slower
    await history.append(again)

    page = await history.read("w1", after_sequence=0)
    assert list(page.notices) == [*notices(lost[0], first - 1), *again]
    assert page.newest == again[-1]


async def test_what_comes_again_late_replaces_nothing(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)
    await history.append(notices(1, 3))
    await history.append(notices(6, 9))

    for sequence in (5, 2, 9, 4):
        await history.append(notices(sequence, sequence))

    assert list((await history.read("w1", after_sequence=0)).notices) == notices(1, 9)


async def test_a_batch_for_many_wallets_is_written_also_after_redis_forgot_its_script(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)
    wallets = [f"w{number}" for number in range(20)]
    await history.append(notices(1, 1))
    await redis.command("SCRIPT", "FLUSH")

    await history.append([notice for wallet_id in wallets for notice in notices(1, 3, wallet_id=wallet_id)])

    for wallet_id in wallets:
        page = await history.read(wallet_id, after_sequence=0)
        assert list(page.notices) == notices(1, 3, wallet_id=wallet_id)


async def test_a_history_that_is_forgotten_is_empty(redis: RedisConnection) -> None:
    history = RedisWalletHistory(redis)
    await history.append(notices(1, 3))

    await history.forget("w1")

    assert (await history.read("w1", after_sequence=0)).newest is None


async def test_a_history_ends_by_itself(redis: RedisConnection) -> None:
    await RedisWalletHistory(redis, lifetime_seconds=100).append(notices(1, 2))

    (key,) = await redis.command("KEYS", "*")
    assert 90 < await redis.command("TTL", key) <= 100


async def test_a_redis_that_is_away_is_noticed_at_once_and_found_again() -> None:
    async with serving_redis() as server:
        redis = RedisConnection(server.url, pause_seconds=0.05)
        await redis.command("SET", "a", 1)

        await stopped(server)
        with pytest.raises(UnavailableError):
            await redis.command("GET", "a")
        server.start()

        await eventually(lambda: answers(redis))
        await redis.close()


async def test_while_redis_is_silent_one_caller_at_a_time_waits_for_it() -> None:
    async with silent_server() as url:
        redis = RedisConnection(url, pause_seconds=0.01)
        assert await seconds_refused(redis) > 1
        await asyncio.sleep(0.02)

        waits = await asyncio.gather(*(seconds_refused(redis) for _ in range(50)))

        assert sum(seconds > 0.5 for seconds in waits) == 1
        await redis.close()


async def test_a_caller_that_leaves_while_it_finds_out_leaves_that_to_the_next() -> None:
    async with silent_server() as url:
        redis = RedisConnection(url, pause_seconds=0.01)
        await seconds_refused(redis)
        await asyncio.sleep(0.02)

        leaving = asyncio.create_task(redis.command("PING"))
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        assert await seconds_refused(redis) > 1
        await redis.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Let everybody connect, and say nothing."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"redis://{host}:{port}/0"
    finally:
        server.close()


async def seconds_refused(redis: RedisConnection) -> float:
    began_seconds = time.monotonic()
    with pytest.raises(UnavailableError):
        await redis.command("PING")
    return time.monotonic() - began_seconds


async def test_while_redis_is_away_callers_are_refused_without_waiting() -> None:
    redis = RedisConnection("redis://127.0.0.1:1/0", pause_seconds=60)
    with pytest.raises(UnavailableError):
        await redis.command("PING")

    began = asyncio.get_running_loop().time()
    for _ in range(100):
        with pytest.raises(UnavailableError):
            await redis.command("PING")

    assert asyncio.get_running_loop().time() - began < 0.5
    await redis.close()


async def stopped(server: FakeRedisServer) -> None:
    await asyncio.to_thread(server.stop)


async def answers(redis: RedisConnection) -> bool:
    try:
        await redis.command("PING")
    except UnavailableError:
        return False
    return True
