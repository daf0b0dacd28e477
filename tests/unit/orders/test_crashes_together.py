"""The process dies at every point while a batch of several buyers' orders is placed together."""

from pathlib import Path

import pytest

from tests.support.crowd_stories import die_among_crowd
from tests.support.orders_world import orders_world

POINTS_MAX = 120
"""More points than a batch of seven has."""


@pytest.mark.parametrize("repeat", [False, True], ids=["nobody asks again", "the callers ask again"])
@pytest.mark.parametrize("seed", range(3))
async def test_wherever_the_process_dies_a_batch_of_orders_comes_right(
    seed: int, *, repeat: bool, tmp_path: Path
) -> None:
    died_after: list[str] = []
    async with orders_world(tmp_path) as world:
        for point in range(POINTS_MAX):
            passed = await die_among_crowd(world, seed, point=point, repeat=repeat)
            if passed is None:
                break
            died_after += passed[-1:]
        assert await world.found() == []
        assert await world.recovery.open_discrepancies() == {}

    assert 20 < len(died_after) < POINTS_MAX
    assert {"transaction", "committed", "reserve_funds", "reserved"} <= set(died_after)
