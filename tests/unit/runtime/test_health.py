import asyncio

import pytest

from services.runtime import health as health_module
from services.runtime.errors import UnavailableError
from services.runtime.health import Health, asked_rarely


async def passes() -> None: ...


async def is_away() -> None:
    raise UnavailableError("The ledger is away.")


async def has_a_bug() -> None:
    raise RuntimeError("password=hunter2")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_without_checks_a_service_is_ready() -> None:
    assert (await Health().readiness()).ready


async def test_a_service_is_ready_when_all_checks_pass() -> None:
    health = Health()
    health.add("database", passes)
    health.add("broker", passes)

    readiness = await health.readiness()

    assert readiness.ready
    assert readiness.checks == {"database": "ok", "broker": "ok"}


async def test_one_failing_check_is_named_and_hides_no_other() -> None:
    health = Health()
    health.add("ledger", is_away)
    health.add("database", passes)

    readiness = await health.readiness()

    assert not readiness.ready
    assert readiness.checks == {"ledger": "The ledger is away.", "database": "ok"}


async def test_a_check_with_a_bug_fails_without_showing_it() -> None:
    health = Health()
    health.add("database", has_a_bug)

    readiness = await health.readiness()

    assert not readiness.ready
    assert "hunter2" not in readiness.checks["database"]


async def test_a_check_that_hangs_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "CHECK_SECONDS_MAX", 0.01)
    health = Health()
    health.add("database", hangs)

    async with asyncio.timeout(30):
        readiness = await health.readiness()

    assert not readiness.ready
    assert "no answer" in readiness.checks["database"]


async def test_a_draining_service_is_not_ready() -> None:
    health = Health()
    health.add("database", passes)

    await health.drain()

    readiness = await health.readiness()
    assert not readiness.ready
    assert "draining" in readiness.checks


async def test_a_part_that_is_only_hinted_at_takes_no_traffic_away() -> None:
    health = Health()
    health.add_hint("broker", is_away)

    readiness = await health.readiness()

    assert readiness.ready
    assert readiness.hints == {"broker": "The ledger is away."}


async def test_a_process_is_alive_until_one_of_its_loops_has_ended() -> None:
    health = Health()
    assert health.liveness().alive

    health.note_ended("relay")

    assert not health.liveness().alive
    assert health.liveness().loops == {"relay": "ended"}


async def test_what_is_asked_rarely_repeats_its_answer_in_between() -> None:
    asked = 0

    async def fails_once() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise UnavailableError("The broker is away.")

    check = asked_rarely(fails_once, seconds_min=0.2)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await check()
    assert asked == 1

    async with asyncio.timeout(30):
        while True:
            try:
                await check()
            except UnavailableError:
                await asyncio.sleep(0.01)
            else:
                break
    assert asked == 2


async def test_a_draining_service_waits_until_others_have_heard() -> None:
    health = Health()
    draining = asyncio.create_task(health.drain(unready_seconds=60))
    await asyncio.sleep(0)

    assert not (await health.readiness()).ready
    assert not draining.done()
    draining.cancel()
