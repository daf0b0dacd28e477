"""`plan -f resource.yaml`: says what the operator would do for resources of a file. The fence stays closed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kubernetes.aio.client import ApiClient

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.conditions import truth
from tradeflow_operator.errors import OperatorError
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import key_of
from tradeflow_operator.settings import OperatorSettings
from tradeflow_operator.startup import MakeKinds, World, kubernetes_configuration, serve_kinds
from tradeflow_operator.work.known import KnownResources


class PlannedResource(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done for one resource."""

    resource: str
    steps: tuple[str, ...] = ()
    verdict: str = ""
    """What its condition Ready would say if no step were left."""
    problem: str = ""
    """Why nothing can be said, if so."""

    def text(self) -> str:
        """Write it for people."""
        lines = [f"would {step}" for step in self.steps] or ["would change nothing"]
        said = [f"problem: {self.problem}"] if self.problem else [*lines, self.verdict]
        return "\n  ".join([self.resource, *said])


async def plan_file(
    settings: OperatorSettings, file: Path, *, namespace: str, make_kinds: MakeKinds = serve_kinds
) -> list[PlannedResource]:
    """Plan the resources of a file, against the cluster and what they refer to."""
    world = await _world(settings)
    try:
        kinds = Kinds(make_kinds(world))
        bodies = [_placed(body, namespace) for body in _documents(file) if body.get("kind") in kinds]
        for body in bodies:
            key = key_of(body["kind"], body)
            world.known.put(key, await _as_applied(world.kubernetes, kinds[key.kind], body))
        return [await _planned(world, kinds, body) for body in bodies]
    finally:
        for close in [world.kubernetes.close, *world.closers][::-1]:
            await close()


async def _world(settings: OperatorSettings) -> World:
    metrics, fence = OperatorMetrics(), Fence()
    kubernetes = KubernetesClient(ApiClient(await kubernetes_configuration(settings)), fence, metrics)
    return World(settings=settings, kubernetes=kubernetes, fence=fence, known=KnownResources(), metrics=metrics)


async def _planned(world: World, kinds: Kinds, body: Mapping[str, Any]) -> PlannedResource:
    key = key_of(body["kind"], body)
    kind: Kind[Any, Any] = kinds[key.kind]
    try:
        resource = kind.parse(world.known.get(key) or body)
        for referred in kind.references(resource):
            if world.known.get(referred) is None:
                path = resource_path(kinds[referred.kind].plural, referred.namespace, referred.name)
                there = await world.kubernetes.read(path)
                if there is not None:
                    world.known.put(referred, there)
        plan = kind.plan(resource, await kind.observe(resource), datetime.now(UTC))
    except OperatorError as error:
        return PlannedResource(resource=str(key), problem=f"{error.reason}: {error.message}")
    verdict = plan.verdict
    said = f"Ready={truth(verdict.ready)} {verdict.reason}: {verdict.message}"
    return PlannedResource(resource=str(key), steps=tuple(step.sentence() for step in plan.steps), verdict=said)


async def _as_applied(kubernetes: KubernetesClient, kind: Kind[Any, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Give the file's resource the status, and what else only the cluster knows, of the one that is there."""
    there = await kubernetes.read(resource_path(kind.plural, body["metadata"]["namespace"], body["metadata"]["name"]))
    if there is None:
        return body
    changed = there.get("spec") != body.get("spec")
    metadata = {**there["metadata"], **body["metadata"], "generation": there["metadata"]["generation"] + changed}
    return {**there, "spec": body.get("spec"), "metadata": metadata}


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(file.read_text()):
        items = (document or {}).get("items") if (document or {}).get("kind") == "List" else [document]
        yield from (item for item in items or () if isinstance(item, dict))


def _placed(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**body, "metadata": {"namespace": namespace, **body["metadata"]}}
