"""TradeFlow: the platform as a helm release, and how it is."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar

from tradeflow_operator.clients.helm import Helm
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path, resource_path
from tradeflow_operator.clients.released_objects import ReleasedObjects
from tradeflow_operator.clients.service_addresses import ServiceAddresses, samples_of
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.reconcile.platform_drift import MADE, objects_changed_by_hand, resources_of_helm
from tradeflow_operator.reconcile.platform_health import (
    SUMMED_UP,
    Component,
    Health,
    component_of,
    own_resource_of,
)
from tradeflow_operator.reconcile.platform_release import (
    ForgetPending,
    Release,
    TradeFlowSpec,
    UninstallRelease,
    UpgradeRelease,
    release_name_of,
    steps_of,
)
from tradeflow_operator.reconcile.tradeflow import PlatformSeen, plan_platform
from tradeflow_operator.resources import Resource

_INVARIANT = "tradeflow_ledger_invariant_holds"

_PLURALS = {
    "DatabaseMigration": "databasemigrations",
    "EventTopic": "eventtopics",
    "KafkaConnection": "kafkaconnections",
    "EventSchema": "eventschemas",
    "JWTKeySet": "jwtkeysets",
    "EventAccess": "eventaccesses",
    "RateLimitPolicy": "ratelimitpolicies",
}


class TradeFlowKind(Kind[TradeFlowSpec, PlatformSeen]):
    """Deploys the platform, or sums it up."""

    name: ClassVar[str] = "TradeFlow"
    plural: ClassVar[str] = "tradeflows"
    spec_type = TradeFlowSpec
    rounds_max = 3  # a step of helm takes seconds; the queue gives others their turn

    def __init__(
        self, kubernetes: KubernetesClient, addresses: ServiceAddresses, objects: ReleasedObjects, helm: Helm
    ) -> None:
        """Take what it reads and writes with."""
        self._kubernetes = kubernetes
        self._addresses = addresses
        self._objects = objects
        self._helm = helm

    def claim(self, resource: Resource[TradeFlowSpec]) -> str | None:
        """Own a helm release; who only observes owns nothing."""
        if resource.spec.management == "Observe":
            return None
        return f"release {resource.namespace}/{release_name_of(resource)}"

    async def observe(self, resource: Resource[TradeFlowSpec]) -> PlatformSeen:
        """Look at helm's record, what it made, the resources of our kinds, and what the ledger says of its money."""
        namespace, release = resource.namespace, release_name_of(resource)
        wanted = steps_of(resource.spec)
        newest, owned_fields, components, resources, (invariants, answers) = await asyncio.gather(
            self._release(resource),
            self._owned_fields(resource),
            self._components(namespace, release, wanted),
            self._resources(namespace, release),
            self._invariants(namespace, release),
        )
        health = Health(
            components=components,
            resources=tuple(own_resource_of(kind, body) for kind, body in resources),
            invariants=invariants,
            ledger_answers=answers,
            wanted=wanted,
        )
        changed: Sequence[str] = ()
        if newest is not None and owned_fields is not None:
            owned_fields = {**owned_fields, **resources_of_helm(resources)}
            changed = objects_changed_by_hand(resource, newest, owned_fields)
            owned_fields |= await self._made_by_others(namespace, changed)
        terminating = bool(resource.deleting or changed) and await self._kubernetes.is_terminating(namespace)
        return PlatformSeen(release=newest, health=health, owned_fields=owned_fields, namespace_terminating=terminating)

    def plan(self, resource: Resource[TradeFlowSpec], observed: PlatformSeen, now: datetime) -> Plan:
        """Decide."""
        return plan_platform(resource, observed, now)

    async def apply(self, resource: Resource[TradeFlowSpec], step: Step) -> None:
        """Take one step."""
        if isinstance(step, UpgradeRelease):
            await self._objects.make_way(resource.namespace, step.sets_back)
            await self._helm.upgrade(resource.namespace, step.release, step.values, step.labels)
        elif isinstance(step, ForgetPending):
            await self._helm.forget(resource.namespace, step.release, step.revision)
        elif isinstance(step, UninstallRelease):
            await self._helm.uninstall(resource.namespace, step.release)

    async def _release(self, resource: Resource[TradeFlowSpec]) -> Release | None:
        """Read helm's record; who only observes needs no right to list Secrets."""
        if resource.spec.management == "Observe":
            return None
        record = await self._helm.newest(resource.namespace, release_name_of(resource))
        if record is None:
            return None
        return Release(
            revision=record.revision,
            status=record.status,
            labels=record.labels,
            since=record.created_at,
            values=record.values,
        )

    async def _owned_fields(self, resource: Resource[TradeFlowSpec]) -> Mapping[str, str] | None:
        """Look at what helm owns of its objects; where nothing is set back, nobody has to know."""
        if resource.deleting or not resource.spec.manages:
            return None
        return await self._objects.owned_fields(resource.namespace, release_name_of(resource))

    async def _components(self, namespace: str, release: str, wanted: Sequence[str]) -> tuple[Component, ...]:
        paths = [object_path("apis/apps/v1", "deployments", namespace, f"{release}-{name}") for name in wanted]
        found = await asyncio.gather(*(self._kubernetes.read(path) for path in paths))
        return tuple(component_of(name, body) for name, body in zip(wanted, found, strict=True) if body)

    async def _resources(self, namespace: str, release: str) -> list[tuple[str, Mapping[str, Any]]]:
        kinds = [kind for kinds in SUMMED_UP.values() for kind in kinds]
        query = {"labelSelector": f"app.kubernetes.io/instance={release}"}
        lists = await asyncio.gather(
            *(self._kubernetes.read(resource_path(_PLURALS[kind], namespace), query) for kind in kinds)
        )
        return [(kind, body) for kind, found in zip(kinds, lists, strict=True) for body in _items(found)]

    async def _made_by_others(self, namespace: str, names: Sequence[str]) -> dict[str, str]:
        """Find, of resources of our kinds that helm made and has no more, those that somebody made in their place.

        They are asked for by name, since nobody has to label what is his.
        """
        there: dict[str, str] = {}
        for told in names:
            kind, _, name = told.partition(" ")
            if kind in _PLURALS and await self._kubernetes.read(resource_path(_PLURALS[kind], namespace, name)):
                there[told] = MADE
        return there

    async def _invariants(self, namespace: str, release: str) -> tuple[Mapping[str, bool], bool]:
        """Read what each ledger's audit says; one that is broken for anyone is broken."""
        answers = await self._addresses.ask(namespace, f"{release}-ledger", "http", "/metrics")
        holds: dict[str, bool] = {}
        for answer in answers:
            for name, labels, value in samples_of(answer):
                if name == _INVARIANT:
                    invariant = labels.get("invariant", "")
                    holds[invariant] = holds.get(invariant, True) and value == 1
        return holds, any(answer.status == HTTPStatus.OK for answer in answers)


def _items(found: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    items: Sequence[Mapping[str, Any]] = (found or {}).get("items") or ()
    return items
