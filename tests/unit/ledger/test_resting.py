import time

import pytest

from services.ledger.auditing import resting
from services.ledger.auditing.resting import Resting


async def _rested_seconds(rests: Resting) -> float:
    began_at_seconds = time.monotonic()
    await rests.rest()
    return time.monotonic() - began_at_seconds


async def test_work_is_a_part_of_the_time_and_rests_are_the_others() -> None:
    rests = Resting(load_ratio=0.25)

    time.sleep(0.01)  # noqa: ASYNC251 - this is the work

    assert await _rested_seconds(rests) >= 0.03


async def test_a_long_piece_of_work_brings_no_longer_rest_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "REST_SECONDS_MAX", 0.01)
    rests = Resting(load_ratio=0.001)

    time.sleep(0.01)  # noqa: ASYNC251 - this is the work

    assert 0.01 <= await _rested_seconds(rests) < 5
