"""A bulkhead: places for few, and a word for those who find none."""

from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry

from services.runtime.bulkhead import Bulkhead, BulkheadMetrics
from services.runtime.errors import UnavailableError


def test_who_finds_no_place_is_told_to_come_back_and_a_place_that_was_left_is_free() -> None:
    bulkhead = Bulkhead("bank", places_max=2)

    with ExitStack() as places:
        places.enter_context(bulkhead.place())
        places.enter_context(bulkhead.place())
        with pytest.raises(UnavailableError) as refused, bulkhead.place():
            pytest.fail("there was a third place")

    assert (refused.value.reason, refused.value.retry_after_seconds > 0) == ("bank_busy", True)
    with bulkhead.place():
        pass


def test_a_call_that_fails_leaves_its_place() -> None:
    bulkhead = Bulkhead("bank", places_max=1)
    with pytest.raises(ValueError, match="broken"), bulkhead.place():
        raise ValueError("broken")

    with bulkhead.place():
        pass


def test_places_and_refusals_are_shown() -> None:
    registry = CollectorRegistry()
    bulkhead = Bulkhead("bank", places_max=1, metrics=BulkheadMetrics(registry))

    with bulkhead.place():
        with pytest.raises(UnavailableError), bulkhead.place():
            pytest.fail("there was a second place")
        taken = registry.get_sample_value("tradeflow_bulkhead_taken", {"target": "bank"})

    assert taken == 1
    assert registry.get_sample_value("tradeflow_bulkhead_taken", {"target": "bank"}) == 0
    assert registry.get_sample_value("tradeflow_bulkhead_places", {"target": "bank"}) == 1
    assert registry.get_sample_value("tradeflow_bulkhead_refused_total", {"target": "bank"}) == 1
