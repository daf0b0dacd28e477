"""TradeFlow on a real API server with the real helm and Kubernetes' own controllers; its Pods are only said to run.

What runs in the Pods is shown on a whole cluster: tests/cluster/test_one_resource.py.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.operator.key_sets import KEY_SET
from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.helm import CHARTS, helm
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import wait_until
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION

pytestmark = [pytest.mark.part("helm")]

PLATFORM = "TradeFlow"

KIND = "tf"
"""The whole name is that of the category too, which stands for all of our kinds."""

KEYS = "shop-signing-keys"
"""The key set that the chart makes."""

CHART = CHARTS / "tradeflow"

ROLL_OUT_SECONDS_MAX = 120.0
"""For a few runs of helm on a busy machine."""

OTHERS: dict[str, Any] = {name: {"create": False} for name in ("clients", "kafkaConnection", "keySet", "migrations")}

VALUES: dict[str, Any] = {
    **OTHERS,
    "topics": {"create": False},
    "global": {"tradeflow": {"issuer": "https://shop.example", "broker": {"url": "kafka://kafka:9092"}}},
    "install": {"orders": False, "gateway": False},
    "ledger": {"replicaCount": 1, "database": {"existingSecret": "database"}},
}
"""A ledger and no more: what the other kinds do has tests of its own."""

Start = Callable[[], Operator]


@pytest.fixture
def start(start_operator: Callable[..., Operator]) -> Start:
    """Start an operator that deploys the repository's chart."""
    return lambda: start_operator(helm_program=str(ensure_program("helm")), platform_chart=str(CHART))


def test_a_platform_is_deployed_changed_mended_and_removed(operator_namespace: OperatorNamespace, start: Start) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values=VALUES)
    wait_until_it_runs(shop, "shop", version="1")
    assert image_of(namespace) == "tradeflow:1"

    shop.apply(PLATFORM, "shop", version="2", values={**VALUES, "ledger": {**VALUES["ledger"], "replicaCount": 2}})
    wait_until_it_runs(shop, "shop", version="2")
    assert (image_of(namespace), replicas_of(namespace)) == ("tradeflow:2", 2)

    namespace.kubectl("delete", "deployment", "shop-ledger")
    wait_until(lambda: image_of(namespace) == "tradeflow:2", "the Deployment isn't made again")
    wait_until_it_runs(shop, "shop", version="2")

    namespace.kubectl("delete", KIND, "shop", "--timeout=60s")
    assert (image_of(namespace), records_of(namespace, "shop")) == (None, [])


def test_an_image_that_somebody_else_set_is_set_back(operator_namespace: OperatorNamespace, start: Start) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values=VALUES)
    wait_until_it_runs(shop, "shop", version="1")

    namespace.kubectl("set", "image", "deployment/shop-ledger", "ledger=tradeflow:somebody-elses")

    wait_until(
        lambda: image_of(namespace) == "tradeflow:1", "the image isn't set back", seconds_max=ROLL_OUT_SECONDS_MAX
    )
    wait_until_it_runs(shop, "shop", version="1")


def test_what_somebody_changes_or_deletes_of_a_platforms_own_objects_is_set_back(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    values = {**VALUES, "clients": {"create": True}, "dashboards": {"enabled": True}}
    shop.apply(PLATFORM, "shop", version="1", values=values)
    wait_until_it_runs(shop, "shop", version="1")
    asked_for = what_is_asked_for(namespace)

    for words in DONE_BY_HAND:
        namespace.kubectl(*words)
    assert all(what_is_asked_for(namespace)[name] != asked for name, asked in asked_for.items())

    wait_until(lambda: what_is_asked_for(namespace) == asked_for, "it isn't set back", seconds_max=ROLL_OUT_SECONDS_MAX)
    wait_until_it_runs(shop, "shop", version="1")


def test_a_resource_of_ours_that_somebody_deletes_is_made_again_and_has_what_it_had(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values={**VALUES, "keySet": {"create": True}})
    wait_until_it_runs(shop, "shop", version="1")
    shop.wait_for(KEY_SET, KEYS, "True")
    kid = shop.status(KEY_SET, KEYS)["activeKid"]

    namespace.kubectl("delete", KEY_SET, KEYS)

    wait_until(lambda: KEYS in names_of(namespace, KEY_SET), "it isn't made again", seconds_max=ROLL_OUT_SECONDS_MAX)
    shop.wait_for(KEY_SET, KEYS, "True")
    wait_until_it_runs(shop, "shop", version="1")
    assert shop.status(KEY_SET, KEYS)["activeKid"] == kid


def test_images_that_admission_names_by_their_digests_alone_are_the_wanted_ones(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    with images_named_by_digest(namespace):
        start()
        for version in ("1", "2"):
            shop.apply(PLATFORM, "shop", version=version, values=VALUES)
            wait_until_it_runs(shop, "shop", version=version)
            assert image_of(namespace) == f"tradeflow@sha256:{version * 64}"

        namespace.kubectl("set", "image", "deployment/shop-ledger", f"ledger=tradeflow@sha256:{'e' * 64}")
        wanted = f"tradeflow@sha256:{'2' * 64}"
        wait_until(lambda: image_of(namespace) == wanted, "the image isn't set back", seconds_max=ROLL_OUT_SECONDS_MAX)


def test_a_change_rolls_out_whatever_somebody_changed_by_hand_before(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values=VALUES)
    wait_until_it_runs(shop, "shop", version="1")

    namespace.kubectl("scale", "deployment/shop-ledger", "--replicas=3")
    shop.apply(PLATFORM, "shop", version="2", values=VALUES)

    wait_until_it_runs(shop, "shop", version="2")
    assert (image_of(namespace), replicas_of(namespace)) == ("tradeflow:2", 1)


def test_a_paused_platform_stays_as_it_is_and_a_forced_one_is_deployed_anew(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values=VALUES)
    wait_until_it_runs(shop, "shop", version="1")

    shop.apply(PLATFORM, "shop", {PAUSED_ANNOTATION: "true"}, version="2", values=VALUES)
    shop.wait_for(PLATFORM, "shop", "True", of_type="Paused")
    assert image_of(namespace) == "tradeflow:1"
    shop.apply(PLATFORM, "shop", version="2", values=VALUES)
    wait_until_it_runs(shop, "shop", version="2")

    namespace.kubectl("scale", "deployment/shop-ledger", "--replicas=3")
    shop.apply(PLATFORM, "shop", {FORCE_ANNOTATION: "1"}, version="2", values=VALUES)
    wait_until(lambda: replicas_of(namespace) == 1, "the ledger isn't deployed anew")
    wait_until_it_runs(shop, "shop", version="2")
    assert shop.status(PLATFORM, "shop")["lastHandledForce"] == "1"


def test_of_two_resources_for_one_release_the_older_has_it(operator_namespace: OperatorNamespace, start: Start) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "first", version="1", releaseName="shop", values=VALUES)
    wait_until_it_runs(shop, "first", version="1")
    shop.apply(PLATFORM, "second", version="2", releaseName="shop", values=VALUES)
    shop.wait_for(PLATFORM, "second", "False", "ResourceConflict")
    assert image_of(namespace) == "tradeflow:1"

    namespace.kubectl("delete", KIND, "first", "--timeout=60s")
    wait_until_it_runs(shop, "second", version="2")


def test_a_release_of_a_person_is_never_taken_over_and_only_told_of(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    values = {**VALUES, "observe": {"create": False}, "global": with_tag("theirs")}
    words = ("install", "shop", str(CHART), "--namespace", namespace.name, "--values", "-")
    helm(*words, stdin=json.dumps(values), kubeconfig=namespace.kubeconfig)
    before = records_of(namespace, "shop")
    start()

    shop.apply(PLATFORM, "shop", version="1", values=VALUES)
    shop.wait_for(PLATFORM, "shop", "False", "ForeignRelease")
    shop.apply(PLATFORM, "shop", management="Observe", values={"install": VALUES["install"]})
    wait_until_it_runs(shop, "shop", version="theirs")
    namespace.kubectl("delete", KIND, "shop", "--timeout=60s")

    assert image_of(namespace) == "tradeflow:theirs"
    assert records_of(namespace, "shop") == before


def test_values_that_the_chart_refuses_are_told_in_helms_words(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop = operator_namespace
    start()

    shop.apply(PLATFORM, "shop", version="1", values={**VALUES, "topics": {"prefix": "no spaces"}})

    shop.wait_for(PLATFORM, "shop", "False", "HelmRefused")
    assert "prefix" in str(shop.status(PLATFORM, "shop")["conditions"])
    assert image_of(shop.namespace) is None


def test_whoever_may_write_values_learns_nothing_that_the_operator_alone_may_read(
    operator_namespace: OperatorNamespace, start: Start
) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    namespace.kubectl("create", "secret", "generic", "others", "--from-literal=word=hush")
    asks = f'{{{{ (lookup "v1" "Secret" "{namespace.name}" "others").data.word | b64dec }}}}'
    start()

    shop.apply(PLATFORM, "shop", version="1", values={**VALUES, "ledger": {**VALUES["ledger"], "tracesUrl": asks}})

    shop.wait_for(PLATFORM, "shop", "False", "TemplateRefused")
    assert "ledger.tracesUrl" in str(shop.status(PLATFORM, "shop")["conditions"])
    assert "hush" not in str(namespace.all_of("deployments"))


def test_names_of_the_release_may_stand_in_values(operator_namespace: OperatorNamespace, start: Start) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()

    ledger = {**VALUES["ledger"], "database": {"existingSecret": "{{ .Release.Name }}-database"}}
    shop.apply(PLATFORM, "shop", version="1", values={**VALUES, "ledger": ledger})

    wait_until_it_runs(shop, "shop", version="1")
    assert "shop-database" in str(deployment_of(namespace))


def test_a_platform_stays_where_its_resource_says_so(operator_namespace: OperatorNamespace, start: Start) -> None:
    shop, namespace = operator_namespace, operator_namespace.namespace
    start()
    shop.apply(PLATFORM, "shop", version="1", values=VALUES, deletionPolicy="Retain")
    wait_until_it_runs(shop, "shop", version="1")

    namespace.kubectl("delete", KIND, "shop", "--timeout=60s")

    assert image_of(namespace) == "tradeflow:1"


@contextmanager
def images_named_by_digest(namespace: KubernetesNamespace) -> Iterator[None]:
    """Let the API server name the images of a namespace's Deployments by digests instead of tags."""
    api, kind, name = "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", namespace.name
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    binding = {"policyName": name, "matchResources": here}
    namespace.apply(
        {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": NAMES_BY_DIGEST},
        {"apiVersion": api, "kind": f"{kind}Binding", "metadata": {"name": name}, "spec": binding},
    )
    tried = ("create", "deployment", "tried", "--image=tradeflow:1", "--dry-run=server", "--output=yaml")
    wait_until(lambda: "image: tradeflow@sha256" in namespace.kubectl(*tried), "images aren't named by digests")
    yield
    namespace.kubectl("delete", f"{kind},{kind}Binding", name)


_IMAGE = "object.spec.template.spec.containers[0].image"

_DIGEST = f"{_IMAGE}.endsWith(':1') ? 'tradeflow@sha256:{'1' * 64}' : 'tradeflow@sha256:{'2' * 64}'"

_PATCH = f"[JSONPatch{{op: 'replace', path: '/spec/template/spec/containers/0/image', value: {_DIGEST}}}]"

NAMES_BY_DIGEST: dict[str, Any] = {
    "failurePolicy": "Fail",
    "reinvocationPolicy": "Never",
    "matchConstraints": {
        "resourceRules": [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["deployments"],
            }
        ]
    },
    "matchConditions": [{"name": "by-tag", "expression": f"!{_IMAGE}.contains('@')"}],
    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _PATCH}}],
}
"""What a webhook would do that verifies images: versions 1 and 2 have digests of their own."""

DONE_BY_HAND = (
    ("scale", "deployment/shop-ledger", "--replicas=0"),
    ("set", "resources", "deployment/shop-ledger", "--requests=memory=1Mi"),
    (
        "patch",
        "service",
        "shop-ledger",
        "--type=json",
        "-p",
        '[{"op":"replace","path":"/spec/ports/0/port","value":1}]',
    ),
    ("patch", "networkpolicy", "shop-ledger", "--type=merge", "-p", '{"spec":{"ingress":[{}]}}'),
    ("patch", "configmap", "shop-dashboard-ledger", "--type=merge", "-p", '{"data":{"tradeflow-ledger.json":"{}"}}'),
    ("patch", "secret", "shop-clients", "--type=merge", "-p", '{"data":{"clients":"e30="}}'),
    ("delete", "poddisruptionbudget", "shop-ledger"),
)
"""What makes a platform fail sooner or later, by whoever has kubectl."""


def what_is_asked_for(namespace: KubernetesNamespace) -> dict[str, Any]:
    """Read what the objects above are asked to be."""
    found = {
        f"{plural}/{body['metadata']['name']}": body
        for plural in ("deployments", "services", "networkpolicies", "configmaps", "secrets", "poddisruptionbudgets")
        for body in namespace.all_of(plural)
    }
    deployment = found["deployments/shop-ledger"]["spec"]
    return {
        "replicas": deployment["replicas"],
        "resources": deployment["template"]["spec"]["containers"][0]["resources"],
        "ports": found["services/shop-ledger"]["spec"]["ports"],
        "ingress": found["networkpolicies/shop-ledger"]["spec"]["ingress"],
        "dashboard": found["configmaps/shop-dashboard-ledger"]["data"],
        "clients": found["secrets/shop-clients"]["data"],
        "budget": (found.get("poddisruptionbudgets/shop-ledger") or {}).get("spec"),
    }


def wait_until_it_runs(shop: OperatorNamespace, name: str, *, version: str) -> None:
    """Say of each Pod that it runs until the resource says so of a version, and that no ledger can be asked."""

    def runs() -> bool:
        let_pods_run(shop.namespace)
        return (
            shop.says(PLATFORM, name, "True", "RolledOut", of_type="ComponentsReady")
            and shop.says(PLATFORM, name, "Unknown", "NoAnswer")
            and shop.status(PLATFORM, name).get("version") == version
        )

    try:
        wait_until(runs, f"version {version} doesn't run", seconds_max=ROLL_OUT_SECONDS_MAX)
    except AssertionError as error:
        raise AssertionError(f"{error}: {shop.status(PLATFORM, name)}") from error


def let_pods_run(namespace: KubernetesNamespace) -> None:
    """Say what a kubelet would say of Pods whose containers answer."""
    ready = json.dumps({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    for pod in namespace.all_of("pods"):
        if pod["status"].get("phase") != "Running":
            with suppress(AssertionError):  # one that goes in this moment is no trouble
                namespace.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--patch", ready)


def deployment_of(namespace: KubernetesNamespace) -> dict[str, Any] | None:
    found = [body for body in namespace.all_of("deployments") if body["metadata"]["name"] == "shop-ledger"]
    return found[0]["spec"] if found else None


def names_of(namespace: KubernetesNamespace, kind: str) -> list[str]:
    return [body["metadata"]["name"] for body in namespace.all_of(kind)]


def image_of(namespace: KubernetesNamespace) -> str | None:
    """Read which image the ledger is asked to have; None when there is no ledger."""
    spec = deployment_of(namespace)
    return spec["template"]["spec"]["containers"][0]["image"] if spec else None


def replicas_of(namespace: KubernetesNamespace) -> int | None:
    spec = deployment_of(namespace)
    return spec["replicas"] if spec else None


def records_of(namespace: KubernetesNamespace, release: str) -> list[str]:
    """Name helm's records of a release."""
    found = namespace.kubectl("get", "secrets", "--selector", f"owner=helm,name={release}", "--output", "name")
    return found.split()


def with_tag(tag: str) -> dict[str, Any]:
    told = VALUES["global"]["tradeflow"]
    return {"tradeflow": {**told, "image": {"tag": tag}}}
