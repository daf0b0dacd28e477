"""Several orders are placed together while others are cancelled, paid and run out beside them, and everything fails.

Seeds decide; a failure tells its seed, and the same seed is the same story.
"""

from pathlib import Path

import pytest

from tests.support.crowd_stories import tell_of_crowd
from tests.support.orders_world import orders_world

WORLDS, STORIES_A_WORLD = 24, 50
"""1,200 stories; each world ends with the comparison of everything."""

QUICK_WORLDS = 8
"""Those that `make test` tells, in some twenty seconds."""


@pytest.mark.parametrize(
    "number",
    [*range(QUICK_WORLDS), *(pytest.param(late, marks=pytest.mark.ci) for late in range(QUICK_WORLDS, WORLDS))],
)
async def test_orders_that_are_placed_together_come_right_whatever_happens_beside_them(
    number: int, tmp_path: Path
) -> None:
    first_seed = number * STORIES_A_WORLD
    async with orders_world(tmp_path) as world:
        for seed in range(first_seed, first_seed + STORIES_A_WORLD):
            try:
                await tell_of_crowd(world, seed)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise

        assert await world.found() == []
        assert await world.recovery.open_discrepancies() == {}


async def test_the_same_seed_is_the_same_story(tmp_path: Path) -> None:
    stories = []
    for name in ("once", "again"):
        async with orders_world(tmp_path / name) as world:
            stories.append([await tell_of_crowd(world, seed) for seed in range(20)])

    assert stories[0] == stories[1]
