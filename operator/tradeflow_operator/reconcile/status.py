"""The status that follows from a verdict, and the smallest patch that makes it so. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tradeflow_operator.conditions import Condition, condition_of, merged, truth
from tradeflow_operator.reconcile.plan import Verdict
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION, Resource


def status_of(resource: Resource[Any], verdict: Verdict, now: datetime, *, failed: bool = False) -> dict[str, Any]:
    """Write the whole status that a verdict asks for; what failed is tried again, and a force with it."""
    before = resource.status.get("conditions") or ()
    status: dict[str, Any] = {
        **{name: value for name, value in verdict.status.items() if value is not None},
        "observedGeneration": resource.generation,
        "conditions": merged(before, _conditions(resource, verdict), generation=resource.generation, now=now),
    }
    handled = (not failed and resource.annotations.get(FORCE_ANNOTATION)) or resource.status.get("lastHandledForce")
    return {**status, "lastHandledForce": handled} if handled else status


def paused_status_of(resource: Resource[Any], now: datetime) -> dict[str, Any]:
    """Write the status of a paused resource: all that was said stays, and that it is paused is added."""
    before = resource.status.get("conditions") or ()
    said = [_as_before(resource, of_type) for of_type in ("Ready", "Synced", "Stalled")]
    own = [_as_before(resource, str(old["type"])) for old in before if _is_own(old)]
    conditions = [*said, _paused(resource), _as_before(resource, "Drifted"), *own]
    # What was said before is of the generation that it was said of.
    written = merged(before, conditions, generation=resource.generation, now=now)
    known = {old.get("type"): old for old in before}
    for condition in written:
        old = known.get(condition["type"])
        if condition["type"] != "Paused" and old and "observedGeneration" in old:
            condition["observedGeneration"] = old["observedGeneration"]
    return {**resource.status, "conditions": written}


def patch_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the JSON merge patch from one object to the other; empty when they are the same."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            inner = patch_of(old, value)
            if inner:
                patch[name] = inner
        elif old != value or name not in before:
            patch[name] = value
    return patch


def _conditions(resource: Resource[Any], verdict: Verdict) -> list[Condition]:
    reason, message = verdict.reason, verdict.message
    drift_reason = {True: "Differs", False: "Same", None: "NotSeen"}[verdict.drifted]
    drift_message = verdict.drift or {False: "", None: "What is there can't be seen.", True: message}[verdict.drifted]
    return [
        Condition(type="Ready", status=truth(verdict.ready), reason=reason, message=message),
        Condition(type="Synced", status=truth(verdict.synced), reason=reason, message=message),
        Condition(
            type="Stalled",
            status=truth(verdict.stalled),
            reason=reason if verdict.stalled else "Progressing",
            message=message if verdict.stalled else "",
        ),
        _paused(resource),
        Condition(type="Drifted", status=truth(verdict.drifted), reason=drift_reason, message=drift_message),
        *verdict.conditions,
    ]


def _paused(resource: Resource[Any]) -> Condition:
    if resource.paused:
        message = f"The annotation {PAUSED_ANNOTATION} is set; nothing is touched until it is removed."
        return Condition(type="Paused", status="True", reason="Annotated", message=message)
    return Condition(type="Paused", status="False", reason="NotPaused", message="")


def _as_before(resource: Resource[Any], of_type: str) -> Condition:
    old = condition_of(resource.status, of_type) or {}
    return Condition(
        type=of_type,
        status=old.get("status", "Unknown"),
        reason=old.get("reason") or "Paused",
        message=old.get("message", ""),
    )


def _is_own(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") not in {"Ready", "Synced", "Stalled", "Paused", "Drifted"}
