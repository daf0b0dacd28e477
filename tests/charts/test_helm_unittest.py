"""The charts' own suites, which helm-unittest runs."""

import subprocess

import pytest

from tests.parts.go_programs import ensure_program
from tests.support.helm import CHARTS, SECONDS_MAX

pytestmark = [pytest.mark.part("helm"), pytest.mark.part("helm-unittest")]


@pytest.mark.parametrize("chart", sorted(file.parents[1].name for file in CHARTS.glob("*/tests/*_test.yaml")))
def test_the_suite_of_a_chart_passes(chart: str) -> None:
    command = [str(ensure_program("helm-unittest")), str(CHARTS / chart)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)

    assert ended.returncode == 0, ended.stdout
