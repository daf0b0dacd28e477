"""EventSchema on a real registry, EventAccess on a Kafka that asks for users, planning, all with a real API server."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.parts.server import Server
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

SCHEMA, ACCESS = "EventSchema", "EventAccess"

FIRST = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; int64 amount = 2; }\n'
SECOND = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; int64 amount = 2; string note = 3; }\n'
BROKEN = 'syntax = "proto3";\npackage shop;\nmessage Order { string id = 1; string amount = 2; }\n'

Start = Callable[..., Operator]


def test_a_schemas_life_from_registration_to_soft_deletion(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.schema(SECOND, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    assert len(shop.versions()) == 2

    shop.schema(BROKEN, compatibility="FULL", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "False", "Incompatible")
    assert shop.level() == "BACKWARD"
    assert len(shop.versions()) == 2
    assert shop.condition(SCHEMA, "orders", "Compatible")[0] == "False"

    shop.schema(SECOND, compatibility="BACKWARD", deletionPolicy="Delete")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.namespace.kubectl("delete", "eventschema", "orders", "--timeout=60s")
    wait_until(lambda: shop.versions() == [], "the subject is still there")


def test_rule_4_a_schema_is_judged_by_the_level_that_is_asked_for(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.schema(BROKEN, compatibility="NONE")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    assert (shop.versions(), shop.level()) == ([1, 2], "NONE")


def test_a_level_that_somebody_else_set_is_set_back(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")

    shop.set_level("NONE")

    wait_until(lambda: shop.level() == "BACKWARD", "the level isn't set back")


def test_of_two_resources_for_one_subject_the_older_has_it(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.wait_for(SCHEMA, "orders", "True", "InSync")
    shop.schema(SECOND, "second", compatibility="BACKWARD", subject=shop.topic_name())
    shop.wait_for(SCHEMA, "second", "False", "ResourceConflict")
    assert len(shop.versions()) == 1

    shop.namespace.kubectl("delete", "eventschema", "orders", "--timeout=60s")
    shop.wait_for(SCHEMA, "second", "True", "InSync")
    assert len(shop.versions()) == 2


def test_two_resources_that_say_the_same_of_a_subject_share_it(shop: OperatorShop, start_operator: Start) -> None:
    shop.schema(FIRST, compatibility="BACKWARD")
    shop.schema(FIRST, "second", compatibility="BACKWARD", subject=shop.topic_name())
    start_operator()
    for name in ("orders", "second"):
        shop.wait_for(SCHEMA, name, "True", "InSync")
    assert len(shop.versions()) == 1

    shop.schema(SECOND, compatibility="BACKWARD")
    # Of those that were made in one second, either may be the owner.
    turned_away = ("False", "ResourceConflict")
    wait_until(
        lambda: [shop.says(SCHEMA, name, *turned_away) for name in ("orders", "second")].count(True) == 1,
        "nobody is told that they disagree",
    )
    other, owner = sorted(("orders", "second"), key=lambda name: not shop.says(SCHEMA, name, *turned_away))
    shop.namespace.kubectl("delete", "eventschema", owner, "--timeout=60s")
    shop.wait_for(SCHEMA, other, "True", "InSync")
    assert len(shop.versions()) == 2


def test_a_schema_that_nobody_can_read_is_refused(shop: OperatorShop, start_operator: Start) -> None:
    start_operator()
    shop.schema("this is no protobuf", compatibility="BACKWARD")

    shop.wait_for(SCHEMA, "orders", "False", "SchemaInvalid")
    assert shop.versions() == []


def test_a_plan_says_what_would_be_done_and_writes_nothing(shop: OperatorShop, tmp_path: Path) -> None:
    shop.make_topic(partitions=3)
    file = tmp_path / "resources.yaml"
    spec = {"connectionRef": {"name": "kafka"}, "topicName": shop.topic_name(), "partitions": 6, "keyed": False}
    topic = shop.manifest("EventTopic", "orders", {**spec, "adoptionPolicy": "Adopt"})
    schema = {"connectionRef": {"name": "kafka"}, "subject": shop.topic_name(), "type": "PROTOBUF", "schema": FIRST}
    file.write_text(yaml.safe_dump_all([topic, shop.manifest(SCHEMA, "orders", schema)]))
    environment = {**os.environ, "TRADEFLOW_OPERATOR_KUBECONFIG": str(shop.namespace.kubeconfig)}

    command = [sys.executable, "-m", "tradeflow_operator", "plan", "-f", str(file)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout

    assert f"would grow the topic {shop.topic_name()} from 3 to 6 partitions" in printed
    assert "would register the schema" in printed
    assert shop.partitions() == 3
    assert shop.versions() == []
    assert shop.namespace.all_of("EventTopic") == []


@pytest.mark.part("kafka")
def test_a_service_signs_in_with_the_secret_that_was_written(
    kubernetes_shop: KubernetesNamespace, private_server: Callable[..., Server], start_operator: Start
) -> None:
    server = private_server("kafka", ("--sasl",))
    server.start()
    admin = cluster_of(server.url).config
    servers = str(admin["bootstrap.servers"]).split(",")
    credentials = {"username": admin["sasl.username"], "password": admin["sasl.password"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin"}, "stringData": credentials}
    kubernetes_shop.apply(secret)
    shop = OperatorShop(kubernetes_shop, servers, "http://127.0.0.1:1")
    kubernetes_shop.apply(
        shop.manifest("KafkaConnection", "kafka", {"bootstrapServers": servers, "secretRef": {"name": "admin"}})
    )
    start_operator()
    grants = {"topics": [{"name": "orders", "operations": ["Read", "Describe"]}]}
    spec = {"connectionRef": {"name": "kafka"}, "principal": "ledger", "secretName": "ledger-kafka", **grants}
    kubernetes_shop.apply(shop.manifest(ACCESS, "ledger", spec))
    shop.wait_for(ACCESS, "ledger", "True", "InSync")

    data = kubernetes_shop.get("secret", "ledger-kafka")["data"]
    password = base64.b64decode(data["password"]).decode()
    ledger = AdminClient({**admin, "sasl.username": "ledger", "sasl.password": password, "log_level": 0})
    wait_until(lambda: _answers(ledger), "the user can't sign in")

    status = str(shop.status(ACCESS, "ledger"))
    assert password not in status
    kubernetes_shop.kubectl("delete", "secret", "ledger-kafka")
    wait_until(lambda: _has_secret(kubernetes_shop), "no new Secret is written")

    # Somebody takes its rights away, and another resource asks for the same user.
    root = AdminClient({**admin, "log_level": 0})
    kept = _rights_of(root, "ledger")
    assert len(kept) == 2
    for taken in root.delete_acls([_EVERY_RIGHT]).values():
        taken.result(30)
    wait_until(lambda: _rights_of(root, "ledger") == kept, "the rights aren't given back")
    kubernetes_shop.apply(shop.manifest(ACCESS, "second", {**spec, "secretName": "second-kafka"}))
    shop.wait_for(ACCESS, "second", "False", "ResourceConflict")


_ANY: Any = None  # the annotations don't know that a filter may leave a name out

_EVERY_RIGHT = AclBindingFilter(
    ResourceType.ANY, _ANY, ResourcePatternType.ANY, "User:ledger", _ANY, AclOperation.ANY, AclPermissionType.ANY
)


def _rights_of(admin: AdminClient, user: str) -> list[str]:
    bindings = admin.describe_acls(_EVERY_RIGHT).result(30)
    return sorted(
        f"{each.restype} {each.name} {each.operation}" for each in bindings if each.principal == f"User:{user}"
    )


def _answers(admin: AdminClient) -> bool:
    try:
        admin.list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def _has_secret(namespace: KubernetesNamespace) -> bool:
    return any(body["metadata"]["name"] == "ledger-kafka" for body in namespace.all_of("secret"))
