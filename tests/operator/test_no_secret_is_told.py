"""Rule 9 on real servers: what Secrets hold is searched for in all that the operator wrote, logged and measured."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from services.runtime.broker.kafka_url import cluster_of
from tests.operator.key_sets import PRIVATE_MEMBERS, keys_in
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.parts.server import Server
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

KINDS = ("kafkaconnection", "eventtopic", "eventaccess", "jwtkeyset", "eventschema", "configmap", "event")

Start = Callable[..., Operator]


@pytest.mark.part("kafka")
def test_rule_9_nothing_that_a_secret_holds_is_written_logged_or_measured(
    kubernetes_shop: KubernetesNamespace, private_server: Callable[..., Server], start_operator: Start
) -> None:
    broker = private_server("kafka", ("--sasl",))
    broker.start()
    admin = cluster_of(broker.url).config
    wrong, registry_password = f"wrong+{uuid4()}/=", f"registry+{uuid4()}/="
    shop = OperatorShop(kubernetes_shop, str(admin["bootstrap.servers"]).split(","), "http://127.0.0.1:1")
    connect(shop, "kafka", username=admin["sasl.username"], password=admin["sasl.password"])
    connect(shop, "wrong", username="nobody", password=wrong, registry=registry_password)
    operator = start_operator(log_level="DEBUG")
    use(shop, "kafka", "ledger")
    use(shop, "wrong", "orders")
    kubernetes_shop.apply(shop.manifest("JWTKeySet", "keys", {}))
    shop.wait_for("EventAccess", "ledger", "True", "InSync")
    shop.wait_for("JWTKeySet", "keys", "True", "InSync")
    for kind, name in (("KafkaConnection", "wrong"), ("EventTopic", "orders"), ("EventAccess", "orders")):
        wait_until(lambda kind=kind, name=name: bool(shop.condition(kind, name)[1] not in {"", "Pending"}), "untold")  # type: ignore[misc]

    secrets = {str(admin["sasl.password"]), wrong, registry_password, *made_secrets(kubernetes_shop)}
    everything = "\n".join([*written(kubernetes_shop), operator.log_file.read_text(), operator.get("/metrics").text])

    assert len(secrets) > 8
    assert "ledger" in everything
    leaked = [secret for secret in secrets if any(form in everything for form in forms_of(secret))]
    assert not leaked, f"{len(leaked)} of {len(secrets)} secrets are told"


def connect(shop: OperatorShop, name: str, *, registry: str = "", **credentials: Any) -> None:
    """Make a connection and its Secret; a registry whose password it holds is nowhere."""
    data = {**credentials, **({"registry-username": "operator", "registry-password": registry} if registry else {})}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-user"}, "stringData": data}
    url = {"registryURL": "http://127.0.0.1:1"} if registry else {}
    spec = {"bootstrapServers": shop.servers, "secretRef": {"name": f"{name}-user"}, **url}
    shop.namespace.apply(secret, shop.manifest("KafkaConnection", name, spec))


def use(shop: OperatorShop, connection: str, name: str) -> None:
    """Ask for something of each kind that signs in."""
    ref = {"connectionRef": {"name": connection}}
    grants = [{"name": "orders", "operations": ["Read"]}]
    access = {**ref, "principal": name, "secretName": f"{name}-kafka", "topics": grants}
    schema = {**ref, "subject": name, "type": "PROTOBUF", "schema": 'syntax = "proto3";'}
    shop.namespace.apply(
        shop.manifest("EventTopic", name, {**ref, "topicName": shop.topic_name(name), "partitions": 1}),
        shop.manifest("EventAccess", name, access),
        shop.manifest("EventSchema", name, schema),
    )


def made_secrets(namespace: KubernetesNamespace) -> Iterator[str]:
    """Read what the operator made: a user's password, and the private parts of keys."""
    yield base64.b64decode(namespace.get("secret", "ledger-kafka")["data"]["password"]).decode()
    for key in keys_in(namespace.get("secret", "keys")):
        yield from (key[member] for member in PRIVATE_MEMBERS if member in key)


def written(namespace: KubernetesNamespace) -> Iterator[str]:
    """Read all that the operator wrote and others may read: what there is but for specs and Secrets, and the audit."""
    for kind in KINDS:
        for body in namespace.all_of(kind):
            metadata = {**body["metadata"], "annotations": None, "managedFields": None}
            yield json.dumps({**body, "metadata": metadata, "spec": None})
    for event in namespace.writes():
        if str(event.get("userAgent", "")).startswith("tradeflow-operator"):
            yield json.dumps(event)


def forms_of(secret: str) -> set[str]:
    """List how a secret may look in a text."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, encoded, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
