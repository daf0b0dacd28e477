import asyncio

import pytest

from services.runtime.passes import repeat_passes
from tests.support.clock import VirtualClock
from tests.support.waiting import eventually


@pytest.mark.parametrize(("done", "at_once"), [([10, 12, 10, 9], 4), ([9], 1), ([0], 1)])
async def test_a_full_pass_is_followed_at_once_and_any_other_after_a_pause(done: list[int], at_once: int) -> None:
    clock, passes = VirtualClock(), 0

    async def one_pass() -> int:
        nonlocal passes
        passes += 1
        return done[passes - 1] if passes <= len(done) else 0

    loop = asyncio.create_task(repeat_passes(one_pass, full=10, clock=clock, pause_seconds=600))
    await eventually(lambda: clock.sleepers == 1)
    before_the_pause = passes
    await clock.advance(599)
    during_the_pause = passes
    await clock.advance(1)
    after_the_pause = passes
    loop.cancel()
    await asyncio.wait({loop})

    assert (before_the_pause, during_the_pause, after_the_pause) == (at_once, at_once, at_once + 1)
