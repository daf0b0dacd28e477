"""Charts say what they take, in a schema and a README that are made from their values."""

import json
from typing import Any

import pytest

from tests.house.chart_schemas import FILLED_IN, SETTINGS
from tests.house.chart_values import leaves, read_values
from tests.house.charts import CHARTS, charts, generated

NAMES = sorted(folder.name for folder in charts())

INSTALLED = {"tradeflow", "tradeflow-operator"}
"""The charts that are releases of their own, and have the alerts of what they install."""


def _schema(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHARTS / chart / "values.schema.json").read_text())
    return found


@pytest.mark.parametrize("chart", NAMES)
def test_schema_and_readme_are_fresh(chart: str) -> None:
    for file, text in generated(CHARTS / chart).items():
        assert file.read_text() == text, f"{file.name} of {chart} is stale: run `make charts`"


@pytest.mark.parametrize("chart", NAMES)
def test_each_value_is_explained(chart: str) -> None:
    unexplained = [".".join(value.path) for value in leaves(read_values(CHARTS / chart / "values.yaml"))
                   if not value.description]  # fmt: skip

    assert unexplained == []


@pytest.mark.parametrize("chart", NAMES)
def test_a_misspelt_value_has_no_place_in_the_schema(chart: str) -> None:
    assert _schema(chart)["additionalProperties"] is False


@pytest.mark.parametrize("service", sorted(SETTINGS))
def test_each_setting_of_a_service_is_the_charts_or_the_teams(service: str) -> None:
    offered = set(_schema(service)["properties"]["settings"]["properties"])

    assert offered == set(SETTINGS[service].model_fields) - FILLED_IN


def test_each_setting_that_charts_fill_in_exists() -> None:
    known = {name for settings in SETTINGS.values() for name in settings.model_fields}

    assert known >= FILLED_IN


def test_subcharts_and_shared_alerts_are_links_and_no_copies() -> None:
    subcharts = list(CHARTS.glob("*/charts/*"))
    alerts = [file for file in CHARTS.glob("*/alerts/*.yaml") if file.parents[1].name not in INSTALLED]

    assert [path for path in (*subcharts, *alerts) if not path.is_symlink()] == []
    assert all(chart.resolve().is_dir() for chart in subcharts)
    assert all(file.resolve().is_file() for file in alerts)
