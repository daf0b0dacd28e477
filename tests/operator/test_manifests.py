"""What the charts render and the examples say is what a real API server takes, field by field."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart_values import NEEDED, SERVICES, everything_of
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.helm import CHARTS, Manifest, render

pytestmark = [pytest.mark.part("helm")]

OTHERS = ("monitoring.coreos.com", "gateway.networking.k8s.io", "keda.sh")
"""Groups of other people's kinds, which this API server doesn't know."""

OF_A_CLUSTER = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace")

EXAMPLES = sorted((CHARTS / "tradeflow-operator" / "examples").glob("*.yaml"))

UMBRELLA: Mapping[str, Any] = {
    **NEEDED["tradeflow"],
    "rateLimits": {"create": True, "limits": [{"name": "all", "per": "ip", "limit": 100, "windowSeconds": 60}]},
    "dashboards": {"enabled": True},
}

IPV6: Mapping[str, Any] = {
    **NEEDED["tradeflow"],
    "global": {"tradeflow": {"issuer": "https://shop.example", "broker": {"url": "kafka://[fd00::1]:9092,k:9092"}}},
}

ODD: Mapping[str, Any] = {
    "image": {"tag": "v" * 128},
    "extraEnv": [{"name": f"TRADEFLOW_{service.upper()}_HTTP_HOST", "value": "::"} for service in SERVICES],
    "nameOverride": "n" * 63,
    "resources": None,
}
"""What is allowed and seldom written."""

RENDERINGS = [
    *(pytest.param(chart, values, (), id=chart) for chart, values in NEEDED.items()),
    *(pytest.param(service, everything_of(service), (), id=f"{service} with everything") for service in SERVICES),
    *(pytest.param(service, {**NEEDED[service], **ODD}, (), id=f"{service} with what is odd") for service in SERVICES),
    pytest.param("tradeflow", IPV6, (), id="tradeflow on IPv6"),
    pytest.param("tradeflow-operator", {"crds": {"enabled": True}, "namespaces": ["shop"]}, (), id="kinds"),
    pytest.param("tradeflow", UMBRELLA, (), id="tradeflow with more"),
    *(pytest.param("tradeflow", {}, (f"values-{name}.yaml",), id=f"tradeflow for {name}") for name in ("dev", "prod")),
]


@pytest.mark.parametrize(("chart", "values", "files"), RENDERINGS)
def test_the_api_server_takes_what_a_chart_renders(
    kubernetes_shop: KubernetesNamespace, chart: str, values: Mapping[str, Any], files: tuple[str, ...]
) -> None:
    manifests = [manifest for manifest in render(chart, values, files=files) if group_of(manifest) not in OTHERS]

    assert_taken(kubernetes_shop, manifests)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_takes_an_example(kubernetes_shop: KubernetesNamespace, path: Path) -> None:
    assert_taken(kubernetes_shop, [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest])


def test_the_api_server_refuses_a_field_that_it_does_not_know(kubernetes_shop: KubernetesNamespace) -> None:
    manifests = render("ledger", NEEDED["ledger"])
    next(each for each in manifests if each["kind"] == "Deployment")["spec"]["replica"] = 2

    with pytest.raises(AssertionError, match=r"replica"):
        assert_taken(kubernetes_shop, manifests)


def assert_taken(namespace: KubernetesNamespace, manifests: list[Manifest]) -> None:
    """Let the API server go through all it does before it would store them."""
    assert manifests
    placed = [manifest if manifest["kind"] in OF_A_CLUSTER else _placed(manifest, namespace) for manifest in manifests]
    told = namespace.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", "-"),
        # One by one: of a List kubectl believes its own copy of the schemas, and not the server.
        stdin="\n---\n".join(map(json.dumps, placed)),
    )
    assert told.count("(server dry run)") == len(manifests)


def group_of(manifest: Manifest) -> str:
    return str(manifest["apiVersion"]).partition("/")[0]


def _placed(manifest: Manifest, namespace: KubernetesNamespace) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace.name}}
