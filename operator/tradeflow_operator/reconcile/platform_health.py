"""What is seen of a platform, and the conditions that sum it up, from its components to its money. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradeflow_operator.conditions import Condition, Truth, condition_of, truth

COMPONENTS = ("ledger", "orders", "gateway")
"""In the order of a roll-out: nobody calls what isn't there yet."""

SUMMED_UP: Mapping[str, tuple[str, ...]] = {
    "MigrationsApplied": ("DatabaseMigration",),
    "TopicsReady": ("EventTopic", "KafkaConnection"),
    "SchemasReady": ("EventSchema",),
    "KeysReady": ("JWTKeySet",),
}
"""The conditions that stand for resources of our kinds, by whether those are ready."""

FAR_TOO_LATE = "ProgressDeadlineExceeded"
"""The reason of a Deployment that its controller gave up."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One Deployment."""

    name: str
    image: str
    """As its Pods have it now."""
    rolled_out: bool
    """Whether all of its Pods are of the newest template, and available."""
    given_up: str = ""
    """What its controller says after it has waited too long."""
    release: str | None = None
    """The helm release that it belongs to; None when none does."""

    @property
    def tag(self) -> str:
        """The tag of the image, or its digest."""
        name, at, digest = self.image.partition("@")
        return digest if at else name.rpartition("/")[2].partition(":")[2]


class OwnResource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of our kinds, of this platform."""

    kind: str
    name: str
    ready: bool | None
    reason: str = ""
    message: str = ""
    stalled: bool = False
    """Whether nothing will change before a person acts."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The platform as it is."""

    components: tuple[Component, ...] = ()
    resources: tuple[OwnResource, ...] = ()
    invariants: Mapping[str, bool] = {}
    """What the ledger's audit says, by invariant; empty while none audits."""
    ledger_answers: bool = True
    wanted: tuple[str, ...] = COMPONENTS
    """The components that belong to this platform, in the order of a roll-out."""

    def component(self, name: str) -> Component | None:
        """Find a component."""
        return next((component for component in self.components if component.name == name), None)


def component_of(name: str, deployment: Mapping[str, Any]) -> Component:
    """Read a Deployment."""
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
    counts = [status.get(field, 0) for field in ("updatedReplicas", "availableReplicas", "replicas")]
    progress = condition_of(status, "Progressing") or {}
    return Component(
        name=name,
        image=spec["template"]["spec"]["containers"][0]["image"],
        rolled_out=current and all(count == wanted for count in counts),
        given_up=str(progress.get("message", "")) if progress.get("reason") == FAR_TOO_LATE and current else "",
        release=(metadata.get("annotations") or {}).get("meta.helm.sh/release-name"),
    )


def health_conditions(health: Health) -> tuple[Condition, ...]:
    """Sum up."""
    return (
        _components_ready(health),
        *(_resources_ready(of_type, kinds, health.resources) for of_type, kinds in SUMMED_UP.items()),
        _invariant_holds(health),
    )


def components_told(health: Health) -> str:
    """Count what is rolled out, for a column."""
    return f"{sum(component.rolled_out for component in health.components)}/{len(health.wanted)}"


def _components_ready(health: Health) -> Condition:
    missing = [name for name in health.wanted if health.component(name) is None]
    behind = [component.name for component in health.components if not component.rolled_out]
    if missing:
        message = f"Not there: {', '.join(missing)}."
    elif behind:
        message = f"Not rolled out: {', '.join(behind)}."
    else:
        return Condition(type="ComponentsReady", status="True", reason="RolledOut", message="All are rolled out.")
    return Condition(
        type="ComponentsReady", status="False", reason="Missing" if missing else "RollingOut", message=message
    )


def _resources_ready(of_type: str, kinds: tuple[str, ...], resources: Sequence[OwnResource]) -> Condition:
    mine = [resource for resource in resources if resource.kind in kinds]
    if not mine:
        return Condition(type=of_type, status="Unknown", reason="None", message=f"There is no {' or '.join(kinds)}.")
    bad = [resource for resource in mine if resource.ready is False]
    unknown = [resource for resource in mine if resource.ready is None]
    first = next(iter(bad or unknown), None)
    if first is None:
        return Condition(type=of_type, status="True", reason="Ready", message=f"{len(mine)} of {len(mine)} are ready.")
    message = f"{first.kind} {first.name}: {first.message}"
    return Condition(type=of_type, status=truth(False if bad else None), reason="NotReady", message=message)


def _invariant_holds(health: Health) -> Condition:
    status: Truth = "Unknown"
    reason, message = "NotAudited", "No ledger audits its book at present."
    if not health.ledger_answers:
        reason, message = "NoAnswer", "The ledger doesn't answer."
    elif broken := sorted(name for name, holds in health.invariants.items() if not holds):
        status, reason = "False", "Broken"
        message = f"The audit of the book found {', '.join(broken)} broken; docs/runbooks says what to do first."
    elif health.invariants:
        status, reason, message = "True", "Audited", f"The audit found nothing against {len(health.invariants)} rules."
    return Condition(type="InvariantHolds", status=status, reason=reason, message=message)
