"""The values that the operator writes for a step of a roll-out mean to the umbrella what the operator means by them."""

from typing import Any

import pytest

from tests.charts.chart_values import NEEDED, SERVICES
from tests.support.helm import render
from tradeflow_operator.reconcile.platform_health import COMPONENTS, Component, Health
from tradeflow_operator.reconcile.platform_release import TradeFlowSpec, values_of

pytestmark = [pytest.mark.part("helm")]

OLD, NEW, PINNED = "tradeflow:0.1.0", "tradeflow:0.2.0", f"tradeflow@sha256:{'b' * 64}"


def a_spec(image: str = NEW, **values: Any) -> TradeFlowSpec:
    """Ask for an image, by its digest where it has one."""
    wanted = {**NEEDED["tradeflow"], **values}
    shared = {**wanted["global"]["tradeflow"], "image": {"digest": image.partition("@")[2]}}
    return TradeFlowSpec(version="0.2.0", values={**wanted, "global": {"tradeflow": shared}})


def health_of(images: dict[str, str]) -> Health:
    components = (Component(name=name, image=image, rolled_out=True, release="shop") for name, image in images.items())
    return Health(components=tuple(components))


def rendered(values: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the images of services, and of their migrations."""
    services, migrations = {}, {}
    for manifest in render("tradeflow", values):
        name = manifest["metadata"]["name"].removeprefix("shop-")
        if manifest["kind"] == "Deployment":
            services[name] = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        elif manifest["kind"] == "DatabaseMigration":
            migrations[name] = manifest["spec"]["image"]
    return services, migrations


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, PINNED), (PINNED, NEW)])
def test_an_upgrade_reaches_one_service_after_the_other(old: str, new: str) -> None:
    images, before = dict.fromkeys(SERVICES, old), dict(NEEDED["tradeflow"])
    for step in COMPONENTS:
        values = values_of(a_spec(new), health_of(images), step, before=before)
        images[step] = new

        services, migrations = rendered(values)

        assert services == images
        assert migrations == {name: images[name] for name in ("ledger", "orders")}
        before = values


def test_a_first_installation_is_the_ledger_and_then_all() -> None:
    first = values_of(a_spec(), Health(), "ledger", before={})
    second = values_of(a_spec(), health_of({"ledger": NEW}), "orders", before=first)

    assert rendered(first) == ({"ledger": NEW}, {"ledger": NEW})
    assert rendered(second)[0] == dict.fromkeys(SERVICES, NEW)


def test_the_operator_makes_no_second_resource_that_observes() -> None:
    kinds = {manifest["kind"] for manifest in render("tradeflow", values_of(a_spec(), Health(), "ledger", before={}))}

    assert "TradeFlow" not in kinds
