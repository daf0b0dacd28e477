"""What somebody changed by hand of a platform's own objects: what helm owned after its last run and owns no more. Pure.

The API server takes a field from its owner where somebody else changes it. What helm never set, such as somebody's
annotation or the replicas that an autoscaler counts, is no difference. Of resources of our kinds only that one is gone
counts: what somebody changed of one is that one's own affair, and partitions that grew can't shrink again.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tradeflow_operator.reconcile.helm_fields import fields_of_helm
from tradeflow_operator.reconcile.platform_release import Release, TradeFlowSpec
from tradeflow_operator.resources import Resource, instant_of

SET_BACK_AFTER_SECONDS = 30.0
"""How long a run of helm is let stand: who changes the same again and again is no reason to deploy without a pause."""

MADE = "made"
"""In a digest's place, of a resource of our kinds that is there."""

_NOTED = "ownedFields"
"""The field of the status."""


def noted_fields(
    resource: Resource[TradeFlowSpec], release: Release | None, owned: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """Write down what helm owns after a run that went well, once; while nobody looks, what was written before stays."""
    noted: dict[str, Any] | None = resource.status.get(_NOTED)
    if release is None or owned is None or release.status != "deployed":
        return noted
    if noted and noted.get("revision") == release.revision:
        return noted
    return {"revision": release.revision, "digests": dict(owned)}


def objects_changed_by_hand(
    resource: Resource[TradeFlowSpec], release: Release, owned: Mapping[str, str]
) -> tuple[str, ...]:
    """Name the objects of which somebody changed or deleted what helm had made, also where helm failed since."""
    noted = resource.status.get(_NOTED) or {}
    if noted.get("revision") != release.revision and release.status == "deployed":
        return ()
    digests: Mapping[str, str] = noted.get("digests") or {}
    return tuple(sorted(name for name, digest in digests.items() if owned.get(name) != digest))


def resources_of_helm(bodies: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Name, of resources of our kinds, those that helm made."""
    found = ((f"{kind} {body['metadata']['name']}", body["metadata"]) for kind, body in bodies)
    return {name: MADE for name, metadata in found if fields_of_helm(metadata)}


def ports_beside_helms(service: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Write a Service's ports so that helm can add its own; None where all of them are helm's.

    What isn't helm's goes. Where nothing would be left, which Kubernetes refuses, it stays by another name.
    """
    ports = service["spec"].get("ports") or []
    owned = [
        json.loads(key.removeprefix("k:"))
        for fields in fields_of_helm(service["metadata"])
        for key in fields.get("f:spec", {}).get("f:ports", {})
        if key.startswith("k:")
    ]
    helms = [port for port in ports if {"port": port["port"], "protocol": port.get("protocol", "TCP")} in owned]
    if len(helms) == len(ports):
        return None
    return helms or [{**port, "name": f"set-by-hand-{port['port']}"} for port in ports]


def may_be_set_back(release: Release, now: datetime) -> bool:
    """Tell whether helm's last run is long enough ago."""
    return now - (instant_of(release.since) or now) >= timedelta(seconds=SET_BACK_AFTER_SECONDS)
