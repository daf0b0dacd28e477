"""A namespace on a cluster in memory with a platform, a helm that changes its Deployments, and a TradeFlow to visit."""

import gzip
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.helm import Helm
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.clients.released_objects import ReleasedObjects
from tradeflow_operator.clients.service_addresses import Address, Answer, ServiceAddresses
from tradeflow_operator.handlers.tradeflow import TradeFlowKind
from tradeflow_operator.work.visit import Outcome

COMPONENTS = ("ledger", "orders", "gateway")

LONG_AGO = "2020-01-01T00:00:00Z"

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
HELMS_PORT = 'k:{"port":8080,"protocol":"TCP"}'
"""As the API server writes it where it says who owns what."""

SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
OWN = f"/apis/tradeflow.dev/v1alpha1/namespaces/{NAMESPACE}"
"""Where the resources of our kinds are."""

TOPIC = f"{OWN}/eventtopics/shop-order-events"
"""The one that the platform's chart makes."""


class Ledgers(ServiceAddresses):
    """Ledgers whose audit says what the test wants; none answers while there is no ledger."""

    def __init__(self, kubernetes: KubernetesClient, world: "PlatformWorld") -> None:
        super().__init__(kubernetes)
        self._world = world

    async def ask(self, namespace: str, service: str, port: str | int, path: str) -> list[Answer]:
        assert (namespace, service, port, path) == (NAMESPACE, "shop-ledger", "http", "/metrics")
        page = f'tradeflow_ledger_invariant_holds{{invariant="sum_zero"}} {int(self._world.money_is_right)}\n'
        answer = Answer(address=Address(host="10.0.0.1", port=8082, ready=True), status=200, text=page)
        return [answer] if self._world.deployment("ledger") and self._world.ledger_answers else []


class HelmInMemory(Helm):
    """Keeps records as helm does, and changes the Deployments that the values name."""

    def __init__(self, kubernetes: KubernetesClient, world: "PlatformWorld") -> None:
        super().__init__(kubernetes, open_fence(), program="helm", chart=Path("/nowhere"), kubeconfig=None)
        self._world = world

    async def upgrade(self, namespace: str, release: str, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        assert (namespace, release) == (NAMESPACE, "shop")
        self._world.upgrades.append((labels["tradeflow.dev/step"], values))
        self._world.record("deployed", labels, values=values)
        for_all = values["global"]["tradeflow"]["image"]
        for name in COMPONENTS:
            if values.get("install", {}).get(name, True):
                image = {**for_all, **{key: value for key, value in _image_of(values, name).items() if value}}
                self._world.deploy(name, image.get("digest") or image["tag"], version=_version_of(values, name))
                self._world.apply_service(name)
        if values.get("topics", {}).get("create", True):
            self._world.apply_topic()
        else:
            self._world.bench.cluster.objects.pop(TOPIC, None)

    async def uninstall(self, namespace: str, release: str) -> None:
        assert (namespace, release) == (NAMESPACE, "shop")
        self._world.uninstalls += 1
        objects = self._world.bench.cluster.objects
        for path in [path for path in objects if path.startswith((f"{SECRETS}/sh.helm.", DEPLOYMENTS, SERVICES))]:
            del objects[path]
        self._world.revision = 0


class PlatformWorld:
    """A namespace with a platform, or without."""

    def __init__(self) -> None:
        self.money_is_right = True
        self.ledger_answers = True
        self.upgrades: list[tuple[str, Mapping[str, Any]]] = []
        self.uninstalls = 0
        self.revision = 0
        self.admitted: Callable[[str], str] = lambda image: image
        """What a webhook makes of the image of a Deployment."""
        self.bench = KindBench(
            lambda kubernetes: TradeFlowKind(
                kubernetes, Ledgers(kubernetes, self), ReleasedObjects(kubernetes), HelmInMemory(kubernetes, self)
            )
        )
        self.bench.cluster.put("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})

    def record(self, status: str, labels: Mapping[str, str], *, values: Mapping[str, Any] | None = None) -> None:
        self.revision += 1
        told = {"owner": "helm", "name": "shop", "status": status, "version": str(self.revision), **labels}
        name = f"sh.helm.release.v1.shop.v{self.revision}"
        stored = b64encode(b64encode(gzip.compress(msgspec.json.encode({"config": values})))).decode()
        self.bench.cluster.put(SECRETS, {"metadata": {"name": name, "labels": told}, "data": {"release": stored}})

    def let_time_pass(self) -> None:
        """Let the newest step have begun longer ago than a step may take."""
        path = f"{SECRETS}/sh.helm.release.v1.shop.v{self.revision}"
        self.bench.cluster.objects[path]["metadata"]["creationTimestamp"] = LONG_AGO

    def deployment(self, name: str) -> dict[str, Any] | None:
        return self.bench.cluster.objects.get(f"{DEPLOYMENTS}/shop-{name}")

    def deploy(self, name: str, tag: str, *, release: str | None = "shop", version: str = "") -> None:
        """Write a Deployment; with a version as helm does, which owns its image then."""
        at = "@" if tag.startswith("sha256:") else ":"
        image = self.admitted(f"registry.example/tradeflow{at}{tag}")
        template = {"spec": {"containers": [{"name": name, "image": image}]}}
        owned = [{"manager": "helm", "operation": "Apply", "fieldsV1": image_of(name)}] if version else []
        labels = {"app.kubernetes.io/version": version} if version else {}
        found = self.deployment(name)
        if found is None:
            annotations = {"meta.helm.sh/release-name": release} if release else {}
            metadata = {"name": f"shop-{name}", "annotations": annotations, "labels": labels, "managedFields": owned}
            spec = {"replicas": 2, "template": template}
            self.bench.cluster.put(DEPLOYMENTS, {"metadata": metadata, "spec": spec, "status": {}})
            return
        found["metadata"] |= {"labels": {**found["metadata"]["labels"], **labels}, "managedFields": owned}
        if found["spec"]["template"] != template:
            self.bench.cluster.request("PATCH", f"{DEPLOYMENTS}/shop-{name}", {"spec": {"template": template}})

    def apply_service(self, name: str) -> None:
        """Write a Service as helm does, which owns all that it sets."""
        self.bench.cluster.objects.pop(f"{SERVICES}/shop-{name}", None)
        owned = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {HELMS_PORT: {}}}}}
        labels = {"app.kubernetes.io/instance": "shop"}
        metadata = {"name": f"shop-{name}", "labels": labels, "managedFields": [owned]}
        self.bench.cluster.put(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": 8080}]}})

    def apply_topic(self) -> None:
        """Write an EventTopic as helm does; what another one set of it becomes helm's."""
        owned = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:partitions": {}}}}
        made = {"labels": {"app.kubernetes.io/instance": "shop"}, "managedFields": [owned]}
        if TOPIC not in self.bench.cluster.objects:
            self.bench.cluster.put(f"{OWN}/eventtopics", {"metadata": {"name": "shop-order-events"}})
        self.bench.cluster.request("PATCH", TOPIC, {"metadata": made, "spec": {"partitions": 6}})

    def make_topic_by_hand(self, name: str = "shop-order-events", *, labels: Mapping[str, str] | None = None) -> None:
        """Make an EventTopic as a person does, in the place of one that is there."""
        self.bench.cluster.objects.pop(f"{OWN}/eventtopics/{name}", None)
        owned = {"manager": "kubectl-create", "operation": "Update", "fieldsV1": {"f:spec": {"f:partitions": {}}}}
        metadata = {"name": name, "labels": dict(labels or {}), "managedFields": [owned]}
        self.bench.cluster.put(f"{OWN}/eventtopics", {"metadata": metadata, "spec": {"partitions": 1}})

    def partitions(self, name: str = "shop-order-events") -> int | None:
        """Read how many partitions an EventTopic asks for; None where there is none."""
        body = self.bench.cluster.objects.get(f"{OWN}/eventtopics/{name}")
        return body["spec"]["partitions"] if body else None

    def change_service_by_hand(self, name: str) -> None:
        """Change what helm had set, which the API server notes."""
        body = self.bench.cluster.objects[f"{SERVICES}/shop-{name}"]
        body["spec"] = {"ports": [{"port": 1}]}
        body["metadata"]["managedFields"] = [
            {"manager": "helm", "operation": "Apply", "fieldsV1": {}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {}},
        ]

    def port_of(self, name: str) -> int | None:
        body = self.bench.cluster.objects.get(f"{SERVICES}/shop-{name}")
        return body["spec"]["ports"][0]["port"] if body else None

    def roll_out(self, name: str, *, given_up: str = "", available: int = 2) -> None:
        found = self.deployment(name)
        assert found is not None
        found["status"] = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": 3 if given_up else 2,
            "updatedReplicas": 1 if given_up else 2,
            "availableReplicas": available,
            "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": given_up}
            ]
            if given_up
            else [],
        }

    def tags(self) -> dict[str, str]:
        found = {name: self.deployment(name) for name in COMPONENTS}
        return {
            name: body["spec"]["template"]["spec"]["containers"][0]["image"].rpartition("tradeflow")[2][1:]
            for name, body in found.items()
            if body
        }

    def migration(self, *, ready: bool, reason: str = "Applying", stalled: bool = False) -> None:
        message = "2 migrations wait."
        self.own_resource(
            "databasemigrations", "shop-ledger", ready=ready, reason=reason, message=message, stalled=stalled
        )

    def own_resource(
        self, plural: str, name: str, *, ready: bool, reason: str = "Any", message: str = "", stalled: bool = False
    ) -> None:
        """Put a resource of our kinds there, of this platform."""
        conditions = [
            {"type": "Ready", "status": str(ready), "reason": reason, "message": message},
            {"type": "Stalled", "status": str(stalled)},
        ]
        told = [{**condition, "observedGeneration": 1} for condition in conditions]
        self.bench.cluster.objects.pop(f"{OWN}/{plural}/{name}", None)
        metadata = {"name": name, "labels": {"app.kubernetes.io/instance": "shop"}}
        self.bench.cluster.put(f"{OWN}/{plural}", {"metadata": metadata, "status": {"conditions": told}})

    def delete(self) -> None:
        self.bench.cluster.request("DELETE", f"{OWN}/tradeflows/shop", None)

    def exists(self) -> bool:
        return self.bench.found("tradeflows", "shop", api="apis/tradeflow.dev/v1alpha1") is not None

    async def look(self) -> Outcome:
        return await self.bench.visit("shop")

    async def visit(self) -> tuple[str, str]:
        await self.look()
        return self.bench.condition("shop", "Ready")

    async def installed(self, version: str = "1", **spec: Any) -> None:
        self.bench.create("shop", version=version, **spec)
        await self.visit()
        for name in COMPONENTS:
            await self.visit()
            self.roll_out(name)
        assert await self.visit() == ("True", "Deployed")


async def at_rest() -> PlatformWorld:
    """Make a platform that was rolled out long ago."""
    world = PlatformWorld()
    await world.installed()
    world.let_time_pass()
    world.upgrades.clear()
    return world


def image_of(container: str) -> dict[str, Any]:
    """Write the field of a container's image as the API server does where it says who owns what."""
    containers: dict[str, Any] = {f'k:{{"name":"{container}"}}': {"f:image": {}}}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}}


def _version_of(values: Mapping[str, Any], name: str) -> str:
    """Read the tag as the chart does, which labels with it what it names by a digest, too."""
    for_all = values.get(name, {}).get("insteadOfGlobal") or values["global"]["tradeflow"]
    return str(_image_of(values, name).get("tag") or for_all["image"]["tag"])


def _image_of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    image: Mapping[str, Any] = values.get(name, {}).get("image", {})
    return image
