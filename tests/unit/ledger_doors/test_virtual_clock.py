"""The tests' own clock."""

import asyncio

from tests.support.clock import START, VirtualClock


async def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    clock, woken = VirtualClock(), list[tuple[int, float]]()

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, (clock.now() - START).total_seconds()))

    async with asyncio.TaskGroup() as group:
        for seconds in (5, 1, 3):
            group.create_task(sleep(seconds))
        await asyncio.sleep(0)
        await clock.advance(4)
        assert woken == [(1, 1.0), (3, 3.0)]
        assert clock.sleepers == 1
        await clock.advance(1)

    assert woken[-1] == (5, 5.0)


async def test_a_loop_that_sleeps_again_is_woken_as_often_as_time_allows() -> None:
    clock, ticks = VirtualClock(), list[int]()

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(1)

    task = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await clock.advance(10)
    task.cancel()

    assert len(ticks) == 10


async def test_a_sleeper_that_was_cancelled_does_not_hold_time_up() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()

    await clock.advance(2)

    assert clock.sleepers == 0
