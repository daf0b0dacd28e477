"""`plan -f resource.yaml`: says what the operator would do for resources of a file. The fence stays closed."""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kubernetes.aio.client import ApiClient

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.conditions import truth
from tradeflow_operator.errors import OperatorError, RefusedError
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.resources import key_of
from tradeflow_operator.settings import OperatorSettings
from tradeflow_operator.startup import World, kubernetes_configuration, serve_kinds
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


async def plan_file(settings: OperatorSettings, file: Path, *, namespace: str) -> list[PlannedResource]:
    """Plan the resources of a file, against the cluster and what they refer to.

    Raises:
        RefusedError: The file has none, or can't be read.
    """
    documents = read_documents(file)
    world = await _world(settings)
    try:
        kinds = Kinds(serve_kinds(world))
        bodies = resources_among(documents, kinds, namespace)
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


def read_documents(file: Path) -> list[dict[str, Any]]:
    """Read the objects of a YAML file, those of lists one by one.

    Raises:
        RefusedError: `FileUnreadable`.
    """
    try:
        documents = [each for each in yaml.safe_load_all(file.read_text()) if isinstance(each, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(f"{file} can't be read: {error}", reason="FileUnreadable") from error
    return [item for document in documents for item in _items_of(document) if isinstance(item, dict)]


def resources_among(
    documents: Iterable[dict[str, Any]], kinds: Container[object], namespace: str
) -> list[dict[str, Any]]:
    """Pick what is of the operator's kinds, each with a namespace.

    Raises:
        RefusedError: None is (`NothingToPlan`), or one has no name (`NameMissing`).
    """
    bodies = [body for body in documents if isinstance(kind := body.get("kind"), str) and kind in kinds]
    if not bodies:
        raise RefusedError("The file has no resource of the operator's kinds.", reason="NothingToPlan")
    return [_placed(body, namespace) for body in bodies]


def _items_of(document: dict[str, Any]) -> Iterable[Any]:
    if document.get("kind") != "List":
        return [document]
    items = document.get("items")
    return items if isinstance(items, list) else ()


def _placed(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise RefusedError(f"A resource of kind {body['kind']} has no metadata.name.", reason="NameMissing")
    return {**body, "metadata": {"namespace": namespace, **metadata}}
