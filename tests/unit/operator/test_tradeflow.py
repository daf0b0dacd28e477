"""TradeFlow on a cluster in memory: the steps of a roll-out, what stops it, and what is only observed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.fence import open_fence
from tradeflow_operator.clients.helm import Helm
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.clients.service_addresses import Address, Answer, ServiceAddresses
from tradeflow_operator.handlers.tradeflow import TradeFlowKind
from tradeflow_operator.resources import FORCE_ANNOTATION

COMPONENTS = ("ledger", "orders", "gateway")

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


class Ledgers(ServiceAddresses):
    """Ledgers whose audit says what the test wants; none answers while there is no ledger."""

    def __init__(self, kubernetes: KubernetesClient, world: "PlatformWorld") -> None:
        super().__init__(kubernetes)
        self._world = world

    async def ask(self, namespace: str, service: str, port: str | int, path: str) -> list[Answer]:
        assert (namespace, service, port, path) == (NAMESPACE, "shop-ledger", "http", "/metrics")
        page = f'tradeflow_ledger_invariant_holds{{invariant="sum_zero"}} {int(self._world.money_is_right)}\n'
        answer = Answer(address=Address(host="10.0.0.1", port=8082, ready=True), status=200, text=page)
        return [answer] if self._world.deployment("ledger") else []


class HelmInMemory(Helm):
    """Keeps records as helm does, and changes the Deployments that the values name."""

    def __init__(self, kubernetes: KubernetesClient, world: "PlatformWorld") -> None:
        super().__init__(kubernetes, open_fence(), program="helm", chart=Path("/nowhere"), kubeconfig=None)
        self._world = world

    async def upgrade(self, namespace: str, release: str, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        assert (namespace, release) == (NAMESPACE, "shop")
        self._world.upgrades.append((labels["tradeflow.dev/step"], values))
        self._world.record("deployed", labels)
        for name in COMPONENTS:
            if values.get("install", {}).get(name, True):
                tag = values.get(name, {}).get("image", {}).get("tag") or values["global"]["tradeflow"]["image"]["tag"]
                self._world.deploy(name, tag)


class PlatformWorld:
    """A namespace with a platform, or without."""

    def __init__(self) -> None:
        self.money_is_right = True
        self.upgrades: list[tuple[str, Mapping[str, Any]]] = []
        self.revision = 0
        self.bench = KindBench(
            lambda kubernetes: TradeFlowKind(kubernetes, Ledgers(kubernetes, self), HelmInMemory(kubernetes, self))
        )

    def record(self, status: str, labels: Mapping[str, str]) -> None:
        self.revision += 1
        told = {"owner": "helm", "name": "shop", "status": status, "version": str(self.revision), **labels}
        name = f"sh.helm.release.v1.shop.v{self.revision}"
        self.bench.cluster.put(SECRETS, {"metadata": {"name": name, "labels": told}})

    def deployment(self, name: str) -> dict[str, Any] | None:
        return self.bench.cluster.objects.get(f"{DEPLOYMENTS}/shop-{name}")

    def deploy(self, name: str, tag: str, *, release: str | None = "shop") -> None:
        template = {"spec": {"containers": [{"image": f"registry.example/tradeflow:{tag}"}]}}
        found = self.deployment(name)
        if found is None:
            annotations = {"meta.helm.sh/release-name": release} if release else {}
            body = {"metadata": {"name": f"shop-{name}", "annotations": annotations}}
            self.bench.cluster.put(DEPLOYMENTS, {**body, "spec": {"replicas": 2, "template": template}, "status": {}})
        elif found["spec"]["template"] != template:
            self.bench.cluster.request("PATCH", f"{DEPLOYMENTS}/shop-{name}", {"spec": {"template": template}})

    def roll_out(self, name: str, *, given_up: str = "") -> None:
        found = self.deployment(name)
        assert found is not None
        found["status"] = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": 3 if given_up else 2,
            "updatedReplicas": 1 if given_up else 2,
            "availableReplicas": 2,
            "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": given_up}
            ]
            if given_up
            else [],
        }

    def tags(self) -> dict[str, str]:
        found = {name: self.deployment(name) for name in COMPONENTS}
        return {
            name: body["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]
            for name, body in found.items()
            if body
        }

    def migration(self, *, ready: bool) -> None:
        collection = f"/apis/tradeflow.dev/v1alpha1/namespaces/{NAMESPACE}/databasemigrations"
        condition = {"type": "Ready", "status": str(ready), "message": "2 migrations wait.", "observedGeneration": 1}
        self.bench.cluster.objects.pop(f"{collection}/shop-ledger", None)
        body = {
            "metadata": {"name": "shop-ledger", "labels": {"app.kubernetes.io/instance": "shop"}},
            "status": {"conditions": [condition]},
        }
        self.bench.cluster.put(collection, body)

    async def visit(self) -> tuple[str, str]:
        await self.bench.visit("shop")
        return self.bench.condition("shop", "Ready")

    async def installed(self, version: str = "1") -> None:
        self.bench.create("shop", version=version)
        await self.visit()
        for name in COMPONENTS:
            await self.visit()
            self.roll_out(name)
        assert await self.visit() == ("True", "Deployed")


async def test_a_platform_is_installed_service_by_service_each_once_the_one_before_is_there() -> None:
    world = PlatformWorld()
    world.bench.create("shop", version="1")

    await world.visit()
    first = world.tags()
    await world.visit()
    waiting = world.tags()
    world.roll_out("ledger")
    await world.visit()

    assert first == waiting == {"ledger": "1"}
    assert world.tags() == {"ledger": "1", "orders": "1"}
    assert world.bench.condition("shop", "Ready") == ("False", "RollingOut")


async def test_an_upgrade_goes_through_ledger_orders_and_gateway_each_after_its_migrations() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.migration(ready=False)
    world.bench.change("shop", spec={"version": "2"})

    seen, held_up = [], {}
    for name in COMPONENTS:
        await world.visit()
        seen.append(world.tags())
        world.roll_out(name)
        if name == "ledger":
            await world.visit()
            held_up = world.tags()
            world.migration(ready=True)

    assert held_up == seen[0]
    assert seen == [
        {"ledger": "2", "orders": "1", "gateway": "1"},
        {"ledger": "2", "orders": "2", "gateway": "1"},
        {"ledger": "2", "orders": "2", "gateway": "2"},
    ]
    assert [step for step, _ in world.upgrades] == [*COMPONENTS]
    assert await world.visit() == ("True", "Deployed")
    assert world.bench.status("shop")["version"] == "2"


async def test_a_failed_step_leaves_the_rest_on_the_old_version_says_why_and_is_not_tried_again_before_a_change() -> (
    None
):
    world = PlatformWorld()
    await world.installed()
    world.bench.change("shop", spec={"version": "2"})
    await world.visit()
    world.roll_out("ledger", given_up="ReplicaSet shop-ledger has timed out progressing.")
    for _ in range(3):
        await world.visit()
    world.upgrades.clear()
    await world.visit()

    assert world.tags() == {"ledger": "2", "orders": "1", "gateway": "1"}
    assert world.bench.condition("shop", "Ready") == ("False", "StepFailed")
    assert "timed out progressing" in str(world.bench.status("shop"))
    assert world.upgrades == []

    world.bench.change("shop", metadata={"annotations": {FORCE_ANNOTATION: "again"}})
    world.roll_out("ledger")
    await world.visit()
    assert world.upgrades != []


async def test_a_platform_at_rest_is_not_upgraded_and_not_written() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.bench.cluster.writes.clear()

    for _ in range(3):
        await world.visit()

    assert (world.upgrades, world.bench.cluster.writes) == ([], [])


async def test_new_values_roll_out_too() -> None:
    world = PlatformWorld()
    await world.installed()
    world.upgrades.clear()
    world.bench.change("shop", spec={"values": {"ledger": {"replicaCount": 3}}})

    await world.visit()

    assert world.upgrades[0][1]["ledger"]["replicaCount"] == 3


@pytest.mark.parametrize("release", ["theirs", None])
async def test_what_somebody_else_deployed_is_left_alone(release: str | None) -> None:
    world = PlatformWorld()
    world.deploy("ledger", "1", release=release)
    world.bench.create("shop", version="2")

    assert await world.visit() == ("False", "ForeignRelease")
    assert world.upgrades == []


async def test_a_helm_release_of_a_person_is_left_alone() -> None:
    world = PlatformWorld()
    world.record("deployed", {})
    world.bench.create("shop", version="2")

    assert await world.visit() == ("False", "ForeignRelease")
    assert world.upgrades == []


async def test_a_helm_process_that_died_is_forgotten_and_its_step_begun_anew() -> None:
    world = PlatformWorld()
    await world.installed()
    labels = {"tradeflow.dev/owner": "shop", "tradeflow.dev/digest": "another", "tradeflow.dev/step": "ledger"}
    world.record("pending-upgrade", labels)
    died = world.revision
    world.upgrades.clear()

    await world.visit()

    assert world.bench.found("secrets", f"sh.helm.release.v1.shop.v{died}") is None


@pytest.mark.parametrize("spec", [{"management": "Observe"}, {"version": "2", "suspend": True}])
async def test_who_only_observes_changes_nothing_and_tells_how_it_is(spec: dict[str, Any]) -> None:
    world = PlatformWorld()
    for name in COMPONENTS:
        world.deploy(name, "1", release="theirs")
        world.roll_out(name)
    world.bench.create("shop", **spec)

    ready = await world.visit()

    assert ready[0] == "True"
    assert world.upgrades == []
    assert world.bench.status("shop")["components"] == "3/3"
    assert world.bench.condition("shop", "InvariantHolds") == ("True", "Audited")


async def test_broken_money_is_said_before_anything_else() -> None:
    world = PlatformWorld()
    world.money_is_right = False
    world.deploy("ledger", "1", release="theirs")
    world.bench.create("shop", management="Observe")

    assert await world.visit() == ("False", "Broken")
    assert "sum_zero" in str(world.bench.status("shop"))


async def test_an_operator_without_a_version_is_refused() -> None:
    world = PlatformWorld()
    world.bench.create("shop")

    assert await world.visit() == ("False", "InvalidSpec")
