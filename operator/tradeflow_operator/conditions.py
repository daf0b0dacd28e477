"""Conditions: what a person, `kubectl wait` and GitOps tools read. Pure: what was said before comes in."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from tradeflow_operator.resources import text_of

Truth = Literal["True", "False", "Unknown"]

RESOURCE_CONFLICT = "ResourceConflict"
"""The reason of what another resource owns."""

REGISTRY_UNIDENTIFIED = "RegistryUnidentified"
"""The reason of a schema of which it isn't known yet whether another resource owns it."""

MESSAGE_CHARACTERS_MAX = 1024
"""Kubernetes takes 32,768; nobody reads that."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is said of a resource."""

    type: str
    status: Truth
    reason: str
    message: str


def truth(value: bool | None) -> Truth:  # noqa: FBT001 - it is the value that is turned into a word
    """Write a truth as Kubernetes does; None is unknown."""
    return "Unknown" if value is None else "True" if value else "False"


def merged(
    before: Sequence[Mapping[str, Any]], said: Iterable[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Write conditions; the time of the last transition stays where the status stays."""
    known = {condition.get("type"): condition for condition in before}
    return [_written(condition, known.get(condition.type), generation, now) for condition in said]


def _written(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    stays = before is not None and before.get("status") == condition.status and before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_CHARACTERS_MAX],
        "observedGeneration": generation,
        "lastTransitionTime": stays or text_of(now),
    }


def transitions(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """List the conditions worth an Event: their status or, while it isn't good, their reason changed.

    A resource that becomes ready on its first visit is no news: its status shows it.
    """
    known = {condition.get("type"): condition for condition in before}
    return [condition for condition in after if _is_news(known.get(condition["type"]), condition)]


def _is_news(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    good = "False" if after["type"] in {"Stalled", "Paused", "Drifted"} else "True"
    status_before = before.get("status", "Unknown") if before else "Unknown"
    if after["status"] == "Unknown" or after["type"] == "Synced":
        return False
    if status_before == after["status"]:
        return after["type"] == "Ready" and after["status"] != good and bool(before) and _reason_changed(before, after)
    return not (status_before == "Unknown" and after["status"] == good)


def _reason_changed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    return before is not None and before.get("reason") != after["reason"]


def ready_of(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find what is said of being ready."""
    return condition_of(status, "Ready")


def condition_of(status: Mapping[str, Any], of_type: str) -> Mapping[str, Any] | None:
    """Find one condition of a status."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == of_type:
            return dict(condition)
    return None
