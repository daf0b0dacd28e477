import pytest

from services.runtime.backoff import jittered_seconds


@pytest.mark.parametrize(("attempt", "longest"), [(0, 0.1), (1, 0.2), (3, 0.8), (10, 5.0), (10_000, 5.0)])
def test_waits_double_up_to_a_cap_and_spread_over_half_of_it(attempt: int, longest: float) -> None:
    waits = [jittered_seconds(attempt, first_seconds=0.1, longest_seconds=5.0) for _ in range(200)]

    assert max(waits) <= longest
    assert min(waits) >= longest / 2
    assert max(waits) - min(waits) > longest / 10
