"""RateLimitPolicy with a gateway's own file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.operator.gateways import own_address, slice_of
from tests.parts.home import free_port
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.gateway_world import gateway_world
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import eventually

Start = Callable[..., Operator]

LIMITS = "RateLimitPolicy"

SECONDS_MAX = 120.0
"""For what takes a second or two on an idle machine."""

A_LIMIT = {"name": "orders", "per": "user", "limit": 5, "windowSeconds": 60, "routeClass": "write"}


async def test_limits_change_a_running_gateway_which_says_when_they_hold(
    operator_namespace: OperatorNamespace, start_operator: Start, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    mounted = tmp_path / "rate-limits.json"
    shop.apply(LIMITS, "limits", limits=[A_LIMIT], gateway={"service": "gateway"})
    await shop.until_says(LIMITS, "limits", "False", "NoGateway")
    host, port = own_address(), free_port()
    async with gateway_world(tmp_path, rate_limits_file=mounted, http_host=host, http_port=port):
        namespace.apply(slice_of("gateway", host, port))
        await shop.until_says(LIMITS, "limits", "False", "GatewayRefused")
        mounted.write_text(_document(namespace))
        await shop.until_says(LIMITS, "limits", "True", "Enforced")

        shop.apply(LIMITS, "limits", limits=[A_LIMIT | {"limit": 1}], gateway={"service": "gateway"})
        await shop.until_says(LIMITS, "limits", "False", "GatewaysBehind")
        mounted.write_text(_document(namespace))
        await shop.until_says(LIMITS, "limits", "True", "Enforced")
        assert json.loads(_document(namespace))["limits"][0]["limit"] == 1

        # Drift: somebody edits the ConfigMap.
        edited = json.dumps({"data": {"rate-limits.json": "{}"}})
        namespace.kubectl("patch", "configmap", "limits", "--patch", edited)
        await eventually(lambda: "orders" in _document(namespace), seconds_max=SECONDS_MAX)

    namespace.kubectl("delete", "ratelimitpolicy", "limits", "--timeout=30s")
    assert "orders" in _document(namespace)  # Retain is the default


def test_limits_do_not_replace_those_of_others(operator_namespace: OperatorNamespace, start_operator: Start) -> None:
    shop = operator_namespace
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs"},
        "data": {"rate-limits.json": "{}"},
    }
    shop.namespace.apply(theirs)
    start_operator()

    shop.apply(LIMITS, "limits", limits=[A_LIMIT], configMapName="theirs")
    shop.wait_for(LIMITS, "limits", "False", "NotAdopted")
    shop.apply(LIMITS, "limits", limits=[A_LIMIT], configMapName="theirs", adoptionPolicy="Adopt")
    shop.wait_for(LIMITS, "limits", "True")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"roles": ["buyer"], "per": "ip"}, "an address has no roles"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"name": "No"}, "should match"),
    ],
)
def test_bad_limits_are_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, limit: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        operator_namespace.apply(LIMITS, "limits", limits=[A_LIMIT | limit])


def _document(namespace: KubernetesNamespace) -> str:
    return str(namespace.get("configmap", "limits")["data"]["rate-limits.json"])
