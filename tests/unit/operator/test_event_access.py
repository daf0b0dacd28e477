"""The Secret of a user: only the one that its resource made is written."""

import base64
from typing import Any

import pytest

from tests.support.crashes import Fuse
from tests.support.fake_kubernetes import FakeKubernetes
from tests.support.operator_world import NAMESPACE, FakeConnections, OperatorWorld
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.handlers.event_access import EventAccessKind
from tradeflow_operator.reconcile.event_access import WriteSecret
from tradeflow_operator.resources import ObjectKey
from tradeflow_operator.work.known import KnownResources

SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"

SPEC = {"connectionRef": {"name": "kafka"}, "principal": "ledger", "secretName": "ledger-kafka"}


async def written(world: OperatorWorld) -> dict[str, Any]:
    """Write the Secret of a user, and return what it holds then."""
    known = KnownResources()
    known.put(ObjectKey("KafkaConnection", NAMESPACE, "kafka"), world.body("KafkaConnection", "kafka"))
    kind = EventAccessKind(FakeConnections(world, known, open_fence(), Fuse()), FakeKubernetes(world.cluster))
    resource = kind.parse({"metadata": {"name": "ledger", "namespace": NAMESPACE, "uid": "u-1"}, "spec": SPEC})
    await kind.apply(resource, WriteSecret(secret="ledger-kafka", principal="ledger"))
    return dict(world.cluster.objects[f"{SECRETS}/ledger-kafka"]["data"])


@pytest.mark.parametrize("password", [None, "", "//8="], ids=["no password", "an empty one", "no text"])
async def test_a_secret_of_ours_without_a_password_gets_one(password: str | None) -> None:
    world = OperatorWorld()
    metadata = {"name": "ledger-kafka", "ownerReferences": [{"uid": "u-1"}]}
    data = {} if password is None else {"password": password}
    world.cluster.put(SECRETS, {"metadata": metadata, "data": data})

    assert base64.b64decode((await written(world))["password"]).decode() != ""


async def test_a_secret_that_somebody_made_in_this_moment_is_left_as_it_is() -> None:
    world = OperatorWorld()
    world.cluster.put(SECRETS, {"metadata": {"name": "ledger-kafka"}, "data": {"theirs": "eA=="}})

    assert await written(world) == {"theirs": "eA=="}
