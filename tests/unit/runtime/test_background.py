import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from services.runtime import background as background_module
from services.runtime.background import background
from services.runtime.errors import UnavailableError
from tests.support.waiting import eventually


def crashing(times: int, ran: list[int]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        ran.append(len(ran))
        if len(ran) <= times:
            raise RuntimeError("crash")
        await asyncio.Event().wait()

    return run


async def test_a_loop_runs_as_long_as_the_body() -> None:
    ended = asyncio.Event()
    began = asyncio.Event()

    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background({"relay": run}):
        await asyncio.wait_for(began.wait(), 5)
        assert not ended.is_set()

    assert ended.is_set()


async def test_a_loop_that_dies_is_logged_counted_and_started_again() -> None:
    registry = CollectorRegistry()
    ran: list[int] = []

    with capture_logs() as logs:
        async with background({"relay": crashing(2, ran)}, registry=registry, restart_seconds_min=0.001):
            await eventually(lambda: len(ran) == 3)
            assert registry.get_sample_value("tradeflow_background_running", {"loop": "relay"}) == 1

    assert registry.get_sample_value("tradeflow_background_crashes_total", {"loop": "relay"}) == 2
    assert [log["loop"] for log in logs if log["event"] == "background_loop_crashed"] == ["relay", "relay"]


async def test_a_loop_that_waits_to_be_started_again_has_not_ended() -> None:
    registry = CollectorRegistry()
    away = asyncio.Event()

    async def run() -> None:
        away.set()
        raise UnavailableError("the database is away", reason="database_unreachable")

    with capture_logs() as logs:
        async with background({"notary": run}, registry=registry, restart_seconds_min=60):
            await away.wait()
            await eventually(lambda: [log["event"] for log in logs] == ["background_loop_waits"])
            running = registry.get_sample_value("tradeflow_background_running", {"loop": "notary"})

    assert running == 1


async def test_a_loop_whose_database_is_away_is_no_crash_and_goes_on_when_it_is_back() -> None:
    registry = CollectorRegistry()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs <= 2:
            raise UnavailableError("the database is away", reason="database_unreachable")
        await asyncio.Event().wait()

    with capture_logs() as logs:
        async with background({"notary": run}, registry=registry, restart_seconds_min=0.001):
            await eventually(lambda: runs == 3)

    assert [(log["event"], log["log_level"], log["reason"]) for log in logs] == [
        ("background_loop_waits", "warning", "database_unreachable")
    ] * 2
    assert not registry.get_sample_value("tradeflow_background_crashes_total", {"loop": "notary"})


async def test_a_loop_that_dies_of_what_somebody_else_cancelled_is_started_again() -> None:
    registry = CollectorRegistry()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            cancelled_elsewhere = asyncio.create_task(asyncio.Event().wait())
            cancelled_elsewhere.cancel()
            await cancelled_elsewhere
        await asyncio.Event().wait()

    async with background({"relay": run}, registry=registry, restart_seconds_min=0.001):
        await eventually(lambda: runs == 2)

    assert registry.get_sample_value("tradeflow_background_crashes_total", {"loop": "relay"}) == 1


async def test_one_loops_death_leaves_the_others_alone() -> None:
    ran: list[int] = []
    steady: list[int] = []

    async with background({"crashing": crashing(3, ran), "steady": crashing(0, steady)}, restart_seconds_min=0.001):
        await eventually(lambda: len(ran) == 4)

    assert steady == [0]


async def test_a_loop_that_returns_stays_stopped() -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    with capture_logs() as logs:
        async with background({"consumer": run}, restart_seconds_min=0.001):
            await eventually(lambda: any(log["event"] == "background_loop_ended" for log in logs))
            await asyncio.sleep(0.01)

    assert runs == 1


async def test_the_bodys_error_stops_the_loops_and_comes_out() -> None:
    steady: list[int] = []

    with pytest.raises(ZeroDivisionError):
        async with background({"steady": crashing(0, steady)}):
            raise ZeroDivisionError


async def test_a_loop_that_does_not_end_is_left_behind_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "STOP_SECONDS_MAX", 0.05)
    released = asyncio.Event()
    began = asyncio.Event()

    async def deaf() -> None:
        began.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    with capture_logs() as logs:
        async with asyncio.timeout(5), background({"deaf": deaf}):
            await began.wait()

    released.set()
    assert [log["loop"] for log in logs if log["event"] == "background_loop_does_not_end"] == ["deaf"]


async def test_the_end_of_a_loop_that_returns_is_told() -> None:
    ended: list[str] = []

    async def returns() -> None:
        return

    async with background({"relay": returns}, on_end=ended.append):
        await eventually(lambda: ended == ["relay"])
