"""A namespace with the kinds, with or without a KafkaConnection to real servers, and operators that serve it alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.control_plane import ControlPlane
from tests.parts.kubernetes_namespace import KubernetesNamespace, fresh_namespace
from tests.support.operator_process import Operator, install_definitions, operators
from tests.support.operator_shop import OperatorNamespace, OperatorShop


@pytest.fixture(scope="session")
def kubernetes_with_kinds(kubernetes_server: ControlPlane) -> ControlPlane:
    """Teach the run's API server our kinds."""
    install_definitions(kubernetes_server)
    return kubernetes_server


@pytest.fixture
def kubernetes_shop(kubernetes_with_kinds: ControlPlane) -> Iterator[KubernetesNamespace]:
    """Make a namespace of the test's own."""
    with fresh_namespace(kubernetes_with_kinds) as namespace:
        yield namespace


@pytest.fixture
def operator_namespace(kubernetes_shop: KubernetesNamespace) -> OperatorNamespace:
    """See the same as who applies resources and reads what they say."""
    return OperatorNamespace(kubernetes_shop)


@pytest.fixture
def start_operator(kubernetes_shop: KubernetesNamespace, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Start operators: `start_operator("first", resync_seconds="1")`."""
    with operators(
        kubernetes_shop.kubeconfig,
        tmp_path,
        namespaces=json.dumps([kubernetes_shop.name]),
        lease_namespace=kubernetes_shop.name,
        resync_seconds="2",
    ) as start:
        yield start


@pytest.fixture
def shop(kubernetes_shop: KubernetesNamespace, kafka_url: str, registry_url: str) -> OperatorShop:
    """Give the namespace a connection to Kafka and the registry."""
    servers = str(cluster_of(kafka_url).config["bootstrap.servers"]).split(",")
    shop = OperatorShop(kubernetes_shop, servers, registry_url)
    shop.connect()
    return shop
