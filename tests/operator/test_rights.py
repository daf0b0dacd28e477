"""The rights of the operator's chart on a real API server: enough for what it does, and no more."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator.key_sets import KEY_SET, apply_key_set
from tests.operator.pod_runner import running_pods
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.helm import CHARTS, helm
from tests.support.operator_process import operators
from tests.support.operator_shop import OperatorNamespace

pytestmark = [pytest.mark.part("helm")]

MIGRATION, LIMITS, PLATFORM = "DatabaseMigration", "RateLimitPolicy", "TradeFlow"

REFUSED_REASON = "KubernetesRefused"
"""What a status and the log say of a missing right."""


@pytest.fixture
def account(kubernetes_shop: KubernetesNamespace) -> Iterator[str]:
    """Make the chart's service account, with its rights in the namespace where it lives, and no platform."""
    name = kubernetes_shop.name
    values = {"crds": {"enabled": False}, "namespaces": [name], "platform": {"enabled": False}}
    shown = [word for file in ("rbac", "service-account") for word in ("--show-only", f"templates/{file}.yaml")]
    chart = [name, str(CHARTS / "tradeflow-operator"), "--set", f"fullnameOverride={name}"]
    manifests = helm("template", *chart, "--namespace", name, "--values", "-", *shown, stdin=json.dumps(values))
    kubernetes_shop.kubectl("apply", "--filename", "-", stdin=manifests)
    yield name
    kubernetes_shop.kubectl("delete", "clusterrole,clusterrolebinding", name)


def kubeconfig_of(account: str, namespace: KubernetesNamespace, folder: Path) -> Path:
    """Write a file that makes clients this account."""
    config = json.loads(namespace.kubeconfig.read_text())
    (user,) = config["users"]
    user["user"] = {"token": namespace.kubectl("create", "token", account).strip()}
    file = folder / "account.kubeconfig"
    file.write_text(json.dumps(config))
    return file


async def test_the_operator_does_its_work_with_the_rights_of_its_chart(
    operator_namespace: OperatorNamespace, account: str, tmp_path: Path
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    kubeconfig = kubeconfig_of(account, namespace, tmp_path)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}}
    namespace.apply({**secret, "stringData": {"url": f"sqlite:///{tmp_path / 'ledger.db'}"}})
    with operators(
        kubeconfig,
        tmp_path,
        namespaces=json.dumps([namespace.name]),
        lease_namespace=namespace.name,
        lease_name=account,
        audit_seconds="1",
    ) as start:
        operator = start()
        apply_key_set(shop, "keys", gateway={"service": "gateway"}, algorithm="RS256")
        shop.apply(LIMITS, "limits", limits=[], gateway={"service": "gateway"})
        shop.apply(PLATFORM, "shop", management="Observe")
        async with running_pods(namespace, tmp_path):
            shop.apply(MIGRATION, "ledger", service="ledger", image="tradeflow:1", databaseSecret={"name": "database"})
            await shop.until_says(MIGRATION, "ledger", "True", "Applied")
        await shop.until_says(KEY_SET, "keys", "True")
        await shop.until_says(LIMITS, "limits", "False", "NoGateway")
        await shop.until_says(PLATFORM, "shop", "False")

        told = operator.log_file.read_text()

    assert REFUSED_REASON not in told
    assert "forbidden" not in told
    assert shop.status(PLATFORM, "shop")["components"] == "0/3"


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "pods/log"),
        ("list", "secrets"),
        ("delete", "secrets"),
        ("delete", "pods"),
        ("patch", "jobs"),
        ("patch", "leases/{account}"),
    ],
)
def test_the_operator_may_not_do_what_it_never_does(
    kubernetes_shop: KubernetesNamespace, account: str, verb: str, what: str
) -> None:
    actor = f"system:serviceaccount:{kubernetes_shop.name}:{account}"

    with pytest.raises(AssertionError, match="auth can-i"):
        kubernetes_shop.kubectl("auth", "can-i", verb, what.format(account=account), "--as", actor)
