"""What a chart tells its service is what the service has to be told."""

import pytest

from services.runtime.settings import variable_name
from tests.charts.chart_values import NEEDED, SERVICES, everything_of
from tests.house.chart_schemas import SETTINGS
from tests.support.helm import one, render
from tradeflow_operator.settings import OperatorSettings

pytestmark = [pytest.mark.part("helm")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_nothing_that_it_does_not_know(service: str) -> None:
    known = {variable_name(SETTINGS[service], field) for field in SETTINGS[service].model_fields}

    assert _told(service, everything=True) - known == {"TZ"}


def test_the_operator_is_told_nothing_that_it_does_not_know() -> None:
    known = {variable_name(OperatorSettings, field) for field in OperatorSettings.model_fields}
    pod = one(render("tradeflow-operator", NEEDED["tradeflow-operator"]), "Deployment")["spec"]["template"]["spec"]

    assert {variable["name"] for variable in pod["containers"][0]["env"]} - known == {"HOME"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_all_that_it_must_know(service: str) -> None:
    must = {
        variable_name(SETTINGS[service], name)
        for name, field in SETTINGS[service].model_fields.items()
        if field.is_required()
    }

    assert must <= _told(service, everything=False)


def _told(service: str, *, everything: bool) -> set[str]:
    values = everything_of(service) if everything else NEEDED[service]
    pod = one(render(service, values), "Deployment")["spec"]["template"]["spec"]
    return {str(variable["name"]) for variable in pod["containers"][0]["env"]}
