"""The plans that seeds stand for."""

from itertools import pairwise

import pytest

from tests.support.fault_plan import ALL_HITS, THEMED_SEEDS, FaultKind, plan_of

SEEDS = range(200)
OUTAGE_SECONDS_MAX = 10.0


def test_the_themed_seeds_together_do_everything_to_everybody() -> None:
    plans = [plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX) for seed in THEMED_SEEDS]

    assert {(fault.kind, fault.target) for plan in plans for fault in plan.faults} == set(ALL_HITS)


def test_seeds_without_a_theme_do_everything_to_everybody_too() -> None:
    plans = [plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX) for seed in SEEDS if seed not in THEMED_SEEDS]

    assert {(fault.kind, fault.target) for plan in plans for fault in plan.faults} == set(ALL_HITS)


@pytest.mark.parametrize("seed", [0, 9, 100])
def test_a_seed_is_the_same_plan_each_time(seed: int) -> None:
    plan = plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX)

    assert plan == plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX)
    assert plan != plan_of(seed + 1, outage_seconds_max=OUTAGE_SECONDS_MAX)


@pytest.mark.parametrize("outage_seconds_max", [10.0, 60.0])
def test_no_outage_is_longer_than_asked_for_and_no_target_has_two_at_once(outage_seconds_max: float) -> None:
    for seed in SEEDS:
        free_at: dict[str, float] = {}
        for fault in plan_of(seed, outage_seconds_max=outage_seconds_max).faults:
            assert fault.seconds <= outage_seconds_max
            assert (fault.seconds == 0) == (fault.kind is FaultKind.EMPTY)
            assert fault.at_seconds > free_at.get(fault.target, 0.0)
            free_at[fault.target] = fault.ends_at_seconds


def test_some_seeds_without_a_theme_have_long_outages_and_overlapping_ones() -> None:
    plans = [plan_of(seed, outage_seconds_max=60.0) for seed in SEEDS if seed not in THEMED_SEEDS]
    overlapping = [
        plan for plan in plans if any(one.ends_at_seconds > other.at_seconds for one, other in pairwise(plan.faults))
    ]

    assert max(fault.seconds for plan in plans for fault in plan.faults) > 50
    assert len(overlapping) > len(plans) / 2


def test_each_themed_seed_has_an_outage_of_some_length() -> None:
    for seed in THEMED_SEEDS:
        plan = plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX)

        assert max(fault.seconds for fault in plan.faults) >= OUTAGE_SECONDS_MAX * 0.6
