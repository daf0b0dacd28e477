"""Tests that configure the logs leave them as they were."""

import logging

import pytest
import structlog

from services.runtime.log import configure_logging
from tests.support.logs_as_before import logs_as_before


def test_logs_that_were_set_up_meanwhile_are_as_before() -> None:
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), list(root.handlers), root.level

    with logs_as_before():
        configure_logging(level="DEBUG")

    assert structlog.get_config() == before
    assert (root.handlers, root.level) == (handlers, level)


def test_what_a_test_does_to_the_logs_is_undone_without_its_asking(request: pytest.FixtureRequest) -> None:
    assert "_logs_as_before" in request.fixturenames
