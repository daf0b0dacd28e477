"""Texts of values are texts in what is rendered, whatever they say: whoever may write values writes no objects.

The operator's helm may write in many namespaces; who writes a TradeFlow resource may have rights in one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.charts.chart_values import NEEDED, SERVICES, everything_of
from tests.support.helm import CHARTS, HelmError, Manifest, render

TEXT = "x\n  namespace: elsewhere\n---\nplanted: here\n---\n#"
"""Would be fields and documents of its own, where it stood without quotes."""

LISTS = ("networkPolicy.dnsCidrs", "topologySpread.topologyKeys", "grpcRoute.services")
"""Texts in lists."""

OFF = {"autoscaling", "keda"}
"""Exclude each other, and have no texts but those that are written as they are."""

REFUSED_PLACE = re.compile(r"at '/([^']+)'")
"""How helm names what a chart's schema refuses."""

pytestmark = [pytest.mark.part("helm")]

UMBRELLA: dict[str, Any] = {
    **NEEDED["tradeflow"],
    **{
        service: {
            **NEEDED[service],
            **NEEDED["tradeflow"].get(service, {}),
            "image": {"registry": "registry.example", "repository": "tradeflow"},
            "priorityClassName": "high",
        }
        for service in SERVICES
    },
    "kafkaConnection": {"existingSecret": "kafka-admin", "bootstrapServers": ["kafka:9092"]},
    "migrations": {"ledgerSecret": "ledger-migrator"},
}


@pytest.mark.parametrize("chart", [*SERVICES, "tradeflow", "tradeflow-operator"])
def test_a_text_of_the_values_is_a_text_in_what_is_rendered(chart: str) -> None:
    base = everything_of(chart) if chart in SERVICES else UMBRELLA if chart == "tradeflow" else NEEDED[chart]
    defaults = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    places = {place for place in (*places_of(base), *places_of(defaults)) if place.split(".")[0] not in OFF}

    taken, manifests = rendered_with_text(chart, base, places)

    assert "serviceAccount.name" in taken or chart == "tradeflow"
    assert [manifest for manifest in manifests if "planted" in manifest] == []
    assert {manifest["metadata"].get("namespace", "shop") for manifest in manifests} == {"shop"}


def rendered_with_text(chart: str, base: Mapping[str, Any], places: set[str]) -> tuple[set[str], list[Manifest]]:
    """Render with the text at all places where the chart takes it; say which these are."""
    taken = set(places)
    while True:
        values = dict(base)
        for place in taken:
            values = with_text(values, place.split("."))
        try:
            return taken, render(chart, values)
        except HelmError as error:
            refused = {place.replace("/", ".") for place in REFUSED_PLACE.findall(str(error))}
            if not refused & taken:
                raise
            taken -= refused


def places_of(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        place = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from places_of(value, f"{place}.")
        elif isinstance(value, str) or place in LISTS:
            yield place


def with_text(values: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Write the text at a place."""
    name, *rest = names
    if not rest:
        return {**values, name: [TEXT] if isinstance(values.get(name), list) or name in LIST_NAMES else TEXT}
    return {**values, name: with_text(values.get(name) or {}, rest)}


LIST_NAMES = {place.rpartition(".")[2] for place in LISTS}
