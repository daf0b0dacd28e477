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
from tests.support.waiting import eventually, wait_until

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


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_limits_of_one_config_map_belong_to_one_policy_which_mends_them_and_then_to_the_next(
    operator_namespace: OperatorNamespace, start_operator: Start, policy: str
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    shop.apply(LIMITS, "first", limits=[A_LIMIT], configMapName="limits", deletionPolicy=policy)
    shop.wait_for(LIMITS, "first", "True")
    shop.apply(LIMITS, "second", limits=[A_LIMIT | {"limit": 9}], configMapName="limits", adoptionPolicy="Adopt")
    shop.wait_for(LIMITS, "second", "False", "ResourceConflict")
    assert _limits(namespace) == [5]

    shop.patch(LIMITS, "first", limits=[A_LIMIT | {"limit": 7}])
    wait_until(lambda: _limits(namespace) == [7], "the change doesn't arrive")
    namespace.kubectl("delete", "configmap", "limits")
    wait_until(lambda: _limits(namespace) == [7], "the ConfigMap isn't made again")

    namespace.kubectl("delete", "ratelimitpolicy", "first", "--timeout=30s")
    wait_until(lambda: _limits(namespace) == [9], "the next policy's limits don't hold")
    shop.wait_for(LIMITS, "second", "True")


def test_limits_go_with_their_policy_where_that_is_asked_for(
    operator_namespace: OperatorNamespace, start_operator: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start_operator()
    shop.apply(LIMITS, "limits", limits=[A_LIMIT], deletionPolicy="Delete")
    shop.wait_for(LIMITS, "limits", "True")

    namespace.kubectl("delete", "ratelimitpolicy", "limits", "--timeout=30s")

    wait_until(lambda: _limits(namespace) == [], "the ConfigMap is still there")


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


def _limits(namespace: KubernetesNamespace) -> list[int]:
    """Read how often each limit lets pass; none while there is no ConfigMap."""
    found = [body for body in namespace.all_of("configmap") if body["metadata"]["name"] == "limits"]
    return [limit["limit"] for body in found for limit in json.loads(body["data"]["rate-limits.json"])["limits"]]
