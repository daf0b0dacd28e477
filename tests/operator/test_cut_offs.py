"""The API server, the broker and the registry are cut off in turn while resources change: told, and made good after."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.parts.server import Server
from tests.support.fault_links import Link
from tests.support.operator_links import KAFKA, KUBERNETES, REGISTRY, LinkedServers, linked_servers
from tests.support.operator_process import Operator, operators
from tests.support.operator_shop import OperatorShop

TOPIC, SCHEMA, CONNECTION = "EventTopic", "EventSchema", "KafkaConnection"

LONGEST_SECONDS = "8"
"""Between attempts: what was away for a minute is back sooner than by the usual back-off."""

CONVERGED_SECONDS_MAX = 120.0

SCHEMAS = [
    'syntax = "proto3";\npackage shop;\nmessage Order {\n'
    + "".join(f"  string field_{number} = {number};\n" for number in range(1, size + 1))
    + "}\n"
    for size in (1, 2, 3, 4, 5)
]
"""Each a compatible successor of the one before."""


@pytest.fixture
def linked(
    kubernetes_shop: KubernetesNamespace, private_server: Callable[..., Server], registry_url: str, tmp_path: Path
) -> Iterator[LinkedServers]:
    with linked_servers(kubernetes_shop.server, private_server, registry_url, tmp_path) as servers:
        yield servers


@pytest.fixture
def linked_shop(kubernetes_shop: KubernetesNamespace, linked: LinkedServers) -> OperatorShop:
    """The test itself reaches the API server and the registry past their links."""
    shop = OperatorShop(kubernetes_shop, [linked.bootstrap_server], linked.registry_url)
    shop.connect()
    return shop


@pytest.fixture
def operator(kubernetes_shop: KubernetesNamespace, linked: LinkedServers, tmp_path: Path) -> Iterator[Operator]:
    told: dict[str, Any] = {
        "namespaces": json.dumps([kubernetes_shop.name]),
        "lease_namespace": kubernetes_shop.name,
        "resync_seconds": "2",
        "backoff_longest_seconds": LONGEST_SECONDS,
    }
    with operators(linked.kubeconfig, tmp_path, **told) as start:
        yield start()


@contextmanager
def cut(link: Link, *, seconds: float) -> Iterator[None]:
    """Cut a link while the body runs, and at least so long."""
    began = time.monotonic()
    link.cut()
    try:
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    finally:
        link.heal()


def change_all(shop: OperatorShop, number: int) -> None:
    """Change what is there, and add something."""
    shop.topic(partitions=3 + number, keyed=False, config={"retention.ms": str(1000 + number)})
    shop.topic(f"new-{number}")
    shop.schema(SCHEMAS[number], compatibility="BACKWARD")


def assert_converged(shop: OperatorShop, number: int) -> None:
    for name in ("orders", f"new-{number}"):
        shop.wait_for(TOPIC, name, "True", "InSync", seconds_max=CONVERGED_SECONDS_MAX)
    shop.wait_for(SCHEMA, "orders", "True", "InSync", seconds_max=CONVERGED_SECONDS_MAX)
    shop.wait_for(CONNECTION, "kafka", "True", "Reachable", seconds_max=CONVERGED_SECONDS_MAX)
    assert (shop.partitions("orders"), shop.partitions(f"new-{number}")) == (3 + number, 3)
    assert len(shop.versions()) == number + 1


def live_through_three_cuts(shop: OperatorShop, linked: LinkedServers, operator: Operator, seconds: float) -> None:
    change_all(shop, 0)
    assert_converged(shop, 0)
    topic_id = shop.status(TOPIC, "orders")["topicID"]

    with cut(linked.links[KUBERNETES], seconds=seconds):
        change_all(shop, 1)
    assert_converged(shop, 1)

    with cut(linked.links[KAFKA], seconds=seconds):
        change_all(shop, 2)
        # Nobody waits for Kafka but who needs it.
        shop.wait_for(SCHEMA, "orders", "True", "InSync")
        shop.wait_for(TOPIC, "new-2", "Unknown", "KafkaUnreachable")
        shop.wait_for(CONNECTION, "kafka", "False", "KafkaUnreachable")
    assert_converged(shop, 2)

    with cut(linked.links[REGISTRY], seconds=seconds):
        change_all(shop, 3)
        shop.wait_for(TOPIC, "new-3", "True", "InSync")
        shop.wait_for(SCHEMA, "orders", "Unknown", "RegistryUnreachable")
    assert_converged(shop, 3)

    assert shop.status(TOPIC, "orders")["topicID"] == topic_id
    assert operator.runs
    assert operator.get("/healthz").is_success, operator.get("/healthz").text
    bugs = {"reconcile_failed", "visit_crashed", "visit_cut_off", "loop_ended"}
    assert [line for line in operator.lines() if line["event"] in bugs] == []


@pytest.mark.ci
@pytest.mark.part("kafka")
def test_servers_that_are_cut_off_for_ten_seconds_are_told_and_made_good(
    linked_shop: OperatorShop, linked: LinkedServers, operator: Operator
) -> None:
    live_through_three_cuts(linked_shop, linked, operator, seconds=10.0)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.part("kafka")
def test_servers_that_are_cut_off_for_a_minute_are_told_and_made_good(
    linked_shop: OperatorShop, linked: LinkedServers, operator: Operator
) -> None:
    live_through_three_cuts(linked_shop, linked, operator, seconds=60.0)
