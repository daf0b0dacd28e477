"""Rule 1 on a real API server: a namespace with resources of all kinds goes, and what holds records stays."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_crds import definitions
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.platform import REPOSITORY
from tests.support.waiting import wait_until

TOPIC, SCHEMA = "EventTopic", "EventSchema"

EXAMPLES = REPOSITORY / "charts" / "tradeflow-operator" / "examples"

A_SCHEMA = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; }\n'

GONE_SECONDS_MAX = 120.0
"""Seconds alone, and for ever if a finalizer hung."""

Start = Callable[..., Operator]


@pytest.fixture
def start_elsewhere(kubernetes_shop: KubernetesNamespace, start_operator: Start) -> Iterator[Start]:
    """Start operators whose Lease doesn't go with the namespace, as one's own namespace goes last."""
    name = f"operator-of-{kubernetes_shop.name}"
    yield lambda: start_operator(lease_namespace="default", lease_name=name)
    kubernetes_shop.server.kubectl("delete", "lease", name, "--namespace", "default", "--ignore-not-found")


def test_rule_1_a_namespace_with_all_kinds_goes_and_what_holds_records_stays(
    shop: OperatorShop, start_elsewhere: Start
) -> None:
    start_elsewhere()
    shop.namespace.apply(*examples(shop))
    shop.topic()
    shop.topic("bills", deletionPolicy="Delete", allowDataLoss=shop.topic_name("bills"))
    shop.topic("empty", deletionPolicy="Delete", allowDataLoss=shop.topic_name("empty"))
    shop.schema(A_SCHEMA, "bills", deletionPolicy="Delete")
    for name in ("orders", "bills", "empty"):
        shop.wait_for(TOPIC, name, "True", "InSync")
    shop.wait_for(SCHEMA, "bills", "True", "InSync")
    shop.produce("orders")
    shop.produce("bills")
    kinds = [definition["spec"]["names"]["kind"] for definition in definitions()]
    for kind in kinds:
        wait_until(lambda kind=kind: was_seen(shop, kind), f"the operator says nothing of {kind}")  # type: ignore[misc]

    delete_namespace(shop)

    assert (shop.partitions("orders"), shop.partitions("bills")) == (3, 3)


def test_rule_1_a_namespace_goes_whose_connection_went_first(shop: OperatorShop, start_elsewhere: Start) -> None:
    start_elsewhere()
    shop.topic("empty", deletionPolicy="Delete", allowDataLoss=shop.topic_name("empty"))
    shop.schema(A_SCHEMA, deletionPolicy="Delete")
    shop.wait_for(TOPIC, "empty", "True", "InSync")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.namespace.kubectl("delete", "kafkaconnection", "kafka")
    delete_namespace(shop)

    assert shop.partitions("empty") == 3
    assert shop.versions() == [1]
    told = {event["message"].split(":")[0] for event in events_of_namespace(shop)}
    assert told == {f"EventTopic {shop.namespace.name}/empty", f"EventSchema {shop.namespace.name}/orders"}


def delete_namespace(shop: OperatorShop) -> None:
    """Delete it and wait; if it hangs, say what it waits for."""
    name = shop.namespace.name
    shop.namespace.server.kubectl("delete", "namespace", name, "--wait=false")
    words = ("get", "namespace", name, "--ignore-not-found", "--output", "json")
    waits_for: list[str] = []

    def is_gone() -> bool:
        found = shop.namespace.server.kubectl(*words)
        conditions = json.loads(found)["status"].get("conditions", []) if found else []
        waits_for[:] = [each["message"] for each in conditions if each["status"] == "True"]
        return not found

    try:
        wait_until(is_gone, f"the namespace {name} hangs", seconds_max=GONE_SECONDS_MAX)
    except AssertionError as error:
        raise AssertionError(f"{error}: {waits_for}") from error


def examples(shop: OperatorShop) -> list[dict[str, Any]]:
    """Read the chart's examples, with topics and subjects that nobody else has; the connection is there already."""
    found = [yaml.safe_load(file.read_text()) for file in sorted(EXAMPLES.glob("*.yaml"))]
    return [_own(shop, body) for body in found if body["kind"] != "KafkaConnection"]


def _own(shop: OperatorShop, body: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, dict[str, Any]] = {
        "EventTopic": {"topicName": shop.topic_name("example"), "replicas": 1, "config": {}},
        "EventSchema": {"subject": shop.topic_name("example")},
        "EventAccess": {"principal": shop.topic_name("example")},
        "TradeFlow": {"management": "Observe"},
    }
    return {**body, "spec": {**body["spec"], **more.get(body["kind"], {})}}


def was_seen(shop: OperatorShop, kind: str) -> bool:
    bodies = shop.namespace.all_of(kind.lower())
    return bool(bodies) and all((body.get("status") or {}).get("observedGeneration") for body in bodies)


def events_of_namespace(shop: OperatorShop) -> list[dict[str, Any]]:
    selector = f"involvedObject.kind=Namespace,involvedObject.name={shop.namespace.name}"
    words = ("get", "events", "--namespace", "default", "--field-selector", selector, "--output", "json")
    items: list[dict[str, Any]] = json.loads(shop.namespace.server.kubectl(*words))["items"]
    return items
