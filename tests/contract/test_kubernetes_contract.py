"""What the operator relies on of Kubernetes' API: on the fake that its other tests use, and on a real API server."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from tests.parts.control_plane import ControlPlane
from tests.parts.home import free_port
from tests.support.fake_kubernetes import FakeCluster, FakeKubernetes
from tests.support.operator_process import install_definitions
from tests.support.waiting import eventually
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kubernetes import (
    AlreadyExistsError,
    ApiConflictError,
    KubernetesClient,
    object_path,
    resource_path,
)
from tradeflow_operator.errors import NotLeaderError, RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import FINALIZER
from tradeflow_operator.settings import OperatorSettings
from tradeflow_operator.startup import kubernetes_configuration

PLURAL, KIND = "kafkaconnections", "KafkaConnection"
"""A kind of ours with a status of its own."""

SECONDS_MAX = 30.0


class Server(ABC):
    """An API server, and the operator's clients of it."""

    @abstractmethod
    async def client(self, fence: Fence | None = None) -> KubernetesClient:
        """Make one."""

    @abstractmethod
    async def client_of_one_that_is_away(self) -> KubernetesClient:
        """Make one of a server that doesn't answer."""


class FakeOne(Server):
    def __init__(self) -> None:
        self._cluster = FakeCluster()

    async def client(self, fence: Fence | None = None) -> KubernetesClient:
        return FakeKubernetes(self._cluster, fence)

    async def client_of_one_that_is_away(self) -> KubernetesClient:
        away = FakeCluster()
        away.is_away = True
        return FakeKubernetes(away)


class RealOne(Server):
    def __init__(self, kubeconfig: Path) -> None:
        self._settings = OperatorSettings(kubeconfig=kubeconfig)

    async def client(self, fence: Fence | None = None) -> KubernetesClient:
        configuration = await kubernetes_configuration(self._settings)
        return KubernetesClient(ApiClient(configuration), fence or open_fence(), OperatorMetrics())

    async def client_of_one_that_is_away(self) -> KubernetesClient:
        configuration = Configuration(host=f"http://127.0.0.1:{free_port()}")
        configuration.retries = 0
        return KubernetesClient(ApiClient(configuration), open_fence(), OperatorMetrics())


@pytest.fixture(params=["fake", pytest.param("kubernetes", marks=pytest.mark.part("kubernetes"))])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "fake":
        return FakeOne()
    plane: ControlPlane = request.getfixturevalue("kubernetes_server")
    install_definitions(plane)
    return RealOne(plane.kubeconfig)


@pytest.fixture
async def kubernetes(server: Server) -> AsyncIterator[KubernetesClient]:
    client = await server.client()
    yield client
    if not isinstance(server, FakeOne):  # all fakes share one connection, which nobody opens
        await client.close()


@pytest.fixture
async def namespace(kubernetes: KubernetesClient) -> AsyncIterator[str]:
    """Make a namespace of the test's own, and begin to remove it afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    await kubernetes.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    await kubernetes.delete(f"/api/v1/namespaces/{name}")


def a_config_map(name: str, labels: Mapping[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def config_maps(namespace: str, name: str = "") -> str:
    return object_path("api/v1", "configmaps", namespace, name)


async def a_resource(kubernetes: KubernetesClient, namespace: str, *, finalizers: list[str] | None = None) -> Any:
    """Create a resource of ours."""
    metadata = {"name": "kafka", **({"finalizers": finalizers} if finalizers else {})}
    spec = {"bootstrapServers": ["one:9092", "two:9092"], "tls": True}
    body = {"apiVersion": "tradeflow.dev/v1alpha1", "kind": KIND, "metadata": metadata, "spec": spec}
    return await kubernetes.create(resource_path(PLURAL, namespace), body)


async def test_what_is_not_there_is_no_error(kubernetes: KubernetesClient, namespace: str) -> None:
    assert await kubernetes.read(config_maps(namespace, "nothing")) is None
    assert await kubernetes.patch(config_maps(namespace, "nothing"), {"data": {"a": "b"}}) is None
    await kubernetes.delete(config_maps(namespace, "nothing"))


async def test_a_created_object_has_what_tells_it_from_others(kubernetes: KubernetesClient, namespace: str) -> None:
    body = await a_resource(kubernetes, namespace)

    metadata = body["metadata"]
    assert metadata["namespace"] == namespace
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"]
    assert await kubernetes.read(resource_path(PLURAL, namespace, "kafka")) == body


async def test_of_one_name_there_is_one_object(kubernetes: KubernetesClient, namespace: str) -> None:
    first = await kubernetes.create(config_maps(namespace), a_config_map("one", a="first"))

    with pytest.raises(AlreadyExistsError):
        await kubernetes.create(config_maps(namespace), a_config_map("one", a="second"))

    assert await kubernetes.read(config_maps(namespace, "one")) == first


async def test_events_get_names_of_their_own(kubernetes: KubernetesClient, namespace: str) -> None:
    path = object_path("api/v1", "events", namespace)
    about = {"apiVersion": "tradeflow.dev/v1alpha1", "kind": KIND, "namespace": namespace, "name": "kafka"}
    event = {"metadata": {"generateName": "kafka."}, "reason": "Reachable", "involvedObject": about}

    names = {(await kubernetes.create(path, event))["metadata"]["name"] for _ in range(3)}

    assert len(names) == 3
    assert all(name.startswith("kafka.") for name in names)


async def test_a_patch_changes_what_it_names_replaces_lists_and_takes_away_by_null(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    await a_resource(kubernetes, namespace)
    path = resource_path(PLURAL, namespace, "kafka")

    body = await kubernetes.patch(path, {"spec": {"bootstrapServers": ["three:9092"], "tls": None}})

    assert body is not None
    assert body["spec"] == {"bootstrapServers": ["three:9092"]}
    assert body["metadata"]["generation"] == 2


async def test_annotations_and_finalizers_are_no_new_generation(kubernetes: KubernetesClient, namespace: str) -> None:
    before = await a_resource(kubernetes, namespace)
    patch = {"metadata": {"annotations": {"tradeflow.dev/force": "1"}, "finalizers": [FINALIZER]}}

    body = await kubernetes.patch(resource_path(PLURAL, namespace, "kafka"), patch)

    assert body is not None
    assert body["metadata"]["generation"] == 1
    assert body["metadata"]["finalizers"] == [FINALIZER]
    assert body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]


async def test_a_status_and_the_rest_are_written_apart(kubernetes: KubernetesClient, namespace: str) -> None:
    uid = (await a_resource(kubernetes, namespace))["metadata"]["uid"]
    path = resource_path(PLURAL, namespace, "kafka")
    patch = {"metadata": {"uid": uid}, "spec": {"tls": False}, "status": {"clusterID": "told"}}

    by_status = await kubernetes.patch(resource_path(PLURAL, namespace, "kafka", subresource="status"), patch)
    by_spec = await kubernetes.patch(path, {"spec": {"tls": False}, "status": {"clusterID": "another"}})

    assert by_status is not None
    assert by_spec is not None
    assert (by_status["spec"]["tls"], by_status["status"]["clusterID"]) == (True, "told")
    assert (by_spec["spec"]["tls"], by_spec["status"]["clusterID"]) == (False, "told")
    assert (by_status["metadata"]["generation"], by_spec["metadata"]["generation"]) == (1, 2)


async def test_a_patch_that_changes_nothing_is_no_new_version(kubernetes: KubernetesClient, namespace: str) -> None:
    await a_resource(kubernetes, namespace)
    path = resource_path(PLURAL, namespace, "kafka")
    before = await kubernetes.patch(path, {"spec": {"tls": False}})

    assert await kubernetes.patch(path, {"spec": {"tls": False}}) == before


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_patch_of_another_object_or_version_changes_nothing(
    kubernetes: KubernetesClient, namespace: str, field: str
) -> None:
    before = await a_resource(kubernetes, namespace)
    path = resource_path(PLURAL, namespace, "kafka")
    other = {"uid": str(uuid4()), "resourceVersion": "1"}[field]

    with pytest.raises(ApiConflictError):
        await kubernetes.patch(path, {"metadata": {field: other}, "spec": {"tls": False}})

    assert await kubernetes.read(path) == before


async def test_a_status_is_told_to_the_version_that_was_read_and_to_no_other(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    before = await a_resource(kubernetes, namespace)
    status = resource_path(PLURAL, namespace, "kafka", subresource="status")

    with pytest.raises(ApiConflictError):
        await kubernetes.patch(status, {"metadata": {"resourceVersion": "1"}, "status": {"clusterID": "told"}})
    assert await kubernetes.read(resource_path(PLURAL, namespace, "kafka")) == before

    version = before["metadata"]["resourceVersion"]
    await kubernetes.patch(status, {"metadata": {"resourceVersion": version}, "status": {"clusterID": "told"}})
    # A uid is no help: there the API server doesn't look at it.
    other = {"metadata": {"uid": str(uuid4())}, "status": {"clusterID": "told again"}}
    body = await kubernetes.patch(status, other)
    assert body is not None
    assert body["status"]["clusterID"] == "told again"


async def test_of_two_that_replace_what_they_read_the_second_is_told(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    read = await kubernetes.create(config_maps(namespace), a_config_map("one", a="0"))
    first = await kubernetes.replace(config_maps(namespace, "one"), {**read, "data": {"b": "1"}})

    with pytest.raises(ApiConflictError):
        await kubernetes.replace(config_maps(namespace, "one"), {**read, "data": {"c": "2"}})

    assert first["data"] == {"b": "1"}
    assert await kubernetes.read(config_maps(namespace, "one")) == first


async def test_what_went_meanwhile_is_not_replaced(kubernetes: KubernetesClient, namespace: str) -> None:
    read = await kubernetes.create(config_maps(namespace), a_config_map("one", a="0"))
    await kubernetes.delete(config_maps(namespace, "one"))

    with pytest.raises(ApiConflictError):
        await kubernetes.replace(config_maps(namespace, "one"), read)

    assert await kubernetes.read(config_maps(namespace, "one")) is None


async def test_only_the_object_that_was_meant_is_deleted(kubernetes: KubernetesClient, namespace: str) -> None:
    body = await kubernetes.create(config_maps(namespace), a_config_map("one"))

    with pytest.raises(ApiConflictError):
        await kubernetes.delete(config_maps(namespace, "one"), uid=str(uuid4()))
    assert await kubernetes.read(config_maps(namespace, "one")) == body

    await kubernetes.delete(config_maps(namespace, "one"), uid=body["metadata"]["uid"])
    assert await kubernetes.read(config_maps(namespace, "one")) is None


async def test_a_finalizer_keeps_what_is_deleted_until_it_is_taken_away(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    await a_resource(kubernetes, namespace, finalizers=[FINALIZER])
    path = resource_path(PLURAL, namespace, "kafka")

    await kubernetes.delete(path)

    body = await kubernetes.read(path)
    assert body is not None
    assert body["metadata"]["deletionTimestamp"]
    await kubernetes.patch(path, {"metadata": {"finalizers": None}})
    assert await kubernetes.read(path) is None


async def test_a_label_chooses_from_a_collection(kubernetes: KubernetesClient, namespace: str) -> None:
    for name, labels in (("one", {"of": "a", "is": "x"}), ("two", {"of": "b"}), ("three", {"of": "a"})):
        await kubernetes.create(config_maps(namespace), a_config_map(name, labels))

    async def names(selector: str) -> list[str]:
        found = await kubernetes.read(config_maps(namespace), {"labelSelector": selector})
        return sorted(item["metadata"]["name"] for item in (found or {})["items"])

    assert await names("of=a") == ["one", "three"]
    assert await names("of=a,is=x") == ["one"]
    assert await names("of=c") == []


async def test_a_long_listing_comes_in_chunks(kubernetes: KubernetesClient, namespace: str) -> None:
    for number in range(5):
        await kubernetes.create(config_maps(namespace), a_config_map(f"map-{number}", {"of": "a"}))
    seen, sizes, token = dict[str, str](), list[int](), ""
    while True:
        page = await kubernetes.list_metadata(config_maps(namespace), limit=2, token=token)
        sizes.append(len(page["items"]))
        seen |= {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in page["items"]}
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            break

    assert {f"map-{number}" for number in range(5)} <= seen.keys()
    assert max(sizes) == 2
    body = await kubernetes.read(config_maps(namespace, "map-0"))
    assert body is not None
    assert seen["map-0"] == body["metadata"]["resourceVersion"]


async def test_a_namespace_that_goes_takes_nothing_new_and_lets_what_is_there_be_changed(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    await a_resource(kubernetes, namespace, finalizers=[FINALIZER])
    assert not await kubernetes.is_terminating(namespace)

    await kubernetes.delete(f"/api/v1/namespaces/{namespace}")
    await eventually(lambda: kubernetes.is_terminating(namespace), seconds_max=SECONDS_MAX)

    with pytest.raises(RefusedError) as refused:
        await kubernetes.create(config_maps(namespace), a_config_map("new"))
    assert refused.value.reason == "KubernetesRefused"
    path = resource_path(PLURAL, namespace, "kafka")
    status = resource_path(PLURAL, namespace, "kafka", subresource="status")
    assert await kubernetes.patch(status, {"status": {"clusterID": "told"}}) is not None
    await kubernetes.patch(path, {"metadata": {"finalizers": None}})
    await eventually(lambda: _is_gone(kubernetes, path), seconds_max=SECONDS_MAX)
    assert await kubernetes.is_terminating(namespace)
    assert await kubernetes.is_terminating(f"{namespace}-that-never-was")


async def _is_gone(kubernetes: KubernetesClient, path: str) -> bool:
    return await kubernetes.read(path) is None


async def test_an_event_of_a_namespace_is_kept_where_namespaces_have_theirs(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    about = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
    metadata = {"generateName": f"{namespace}.", "namespace": "default"}
    event = {"metadata": metadata, "reason": "Retained", "type": "Warning", "involvedObject": about}

    body = await kubernetes.create(object_path("api/v1", "events", "default"), event)

    assert body["involvedObject"] == about
    await kubernetes.delete(object_path("api/v1", "events", "default", body["metadata"]["name"]))


async def test_behind_a_closed_fence_everything_is_read_and_nothing_written(
    server: Server, kubernetes: KubernetesClient, namespace: str
) -> None:
    before = await kubernetes.create(config_maps(namespace), a_config_map("one", a="0"))
    fenced = await server.client(Fence())
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: fenced.create(config_maps(namespace), a_config_map("two")),
        lambda: fenced.patch(config_maps(namespace, "one"), {"data": {"a": "1"}}),
        lambda: fenced.replace(config_maps(namespace, "one"), {**before, "data": {}}),
        lambda: fenced.delete(config_maps(namespace, "one")),
    ]

    for write in writes:
        with pytest.raises(NotLeaderError):
            await write()

    assert await fenced.read(config_maps(namespace, "one")) == before
    assert await fenced.read(config_maps(namespace, "two")) is None
    if not isinstance(server, FakeOne):
        await fenced.close()


async def test_a_server_that_does_not_answer_is_said_to_be_unavailable(server: Server) -> None:
    away = await server.client_of_one_that_is_away()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: away.read(config_maps("shop", "one")),
        lambda: away.list_metadata(config_maps("shop"), limit=2),
        lambda: away.is_terminating("shop"),
        lambda: away.create(config_maps("shop"), a_config_map("one")),
        lambda: away.patch(config_maps("shop", "one"), {"data": None}),
        lambda: away.delete(config_maps("shop", "one")),
    ]

    for call in calls:
        with pytest.raises(UnavailableError) as unavailable:
            await call()
        assert unavailable.value.reason == "KubernetesUnavailable"
    if not isinstance(server, FakeOne):
        await away.close()
