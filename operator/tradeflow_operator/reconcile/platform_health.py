"""What is seen of a platform, and the conditions that sum it up, from its components to its money. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradeflow_operator.conditions import Condition, Truth, condition_of, ready_of, truth
from tradeflow_operator.reconcile.helm_fields import owns_image
from tradeflow_operator.resources import PAUSED_ANNOTATION, is_paused

COMPONENTS = ("ledger", "orders", "gateway")
"""In the order of a roll-out: nobody calls what isn't there yet."""

SUMMED_UP: Mapping[str, tuple[str, ...]] = {
    "MigrationsApplied": ("DatabaseMigration",),
    "TopicsReady": ("EventTopic", "KafkaConnection"),
    "SchemasReady": ("EventSchema",),
    "KeysReady": ("JWTKeySet",),
    "AccessReady": ("EventAccess",),
    "LimitsReady": ("RateLimitPolicy",),
}
"""The conditions that stand for resources of our kinds, by whether those are ready."""

VERSION_LABEL, LABEL_CHARACTERS_MAX = "app.kubernetes.io/version", 63
"""The label by which the chart names the tag that it sets, and how much a label holds."""

FAR_TOO_LATE = "ProgressDeadlineExceeded"
"""The reason of a Deployment that its controller gave up."""

NO_ANSWER = "NoAnswer"
"""The reason of what isn't known since nobody answers who should."""

_HOW_IT_COMES = "A roll-out brings it; where there is none, install it or leave it out by spec.values.install."

NAMED_MAX = 4
"""How many resources a message names; of others it tells the number."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One Deployment."""

    name: str
    image: str
    """As its Pods have it now."""
    rolled_out: bool
    """Whether all of its Pods are of the newest template, and available."""
    has_pods: bool = True
    """Whether any is asked for; False where it was scaled to 0."""
    given_up: str = ""
    """What its controller says after it has waited too long."""
    release: str | None = None
    """The helm release that it belongs to; None when none does."""
    labelled: str = ""
    """The version that its label names, while its image is what helm set; a label has no more than the tag's begin."""

    @property
    def tag(self) -> str:
        """The tag of the image; empty where it is named by its digest alone."""
        return self.image.partition("@")[0].rpartition("/")[2].partition(":")[2]

    @property
    def digest(self) -> str:
        """The digest of the image; empty where it is named by its tag alone."""
        return self.image.partition("@")[2]

    @property
    def version(self) -> str:
        """What the image is asked for by."""
        return self.tag or self.labelled or self.digest

    def has(self, wanted: str | None) -> bool:
        """Tell whether the image is of this tag or digest.

        Webhooks that pin images add a digest to a tag, or put it into the tag's place: then the label tells the tag.
        """
        if wanted is None or wanted in {self.tag, self.digest}:
            return wanted is not None
        return not self.tag and bool(self.labelled) and self.labelled == label_of(wanted)


class OwnResource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of our kinds, of this platform."""

    kind: str
    name: str
    ready: bool | None
    reason: str = ""
    message: str = ""
    stalled: bool = False
    """Whether nothing will change before a person acts."""
    paused: bool = False
    deleting: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


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
    container = spec["template"]["spec"]["containers"][0]
    label = (metadata.get("labels") or {}).get(VERSION_LABEL) or ""
    return Component(
        name=name,
        image=container["image"],
        labelled=label if owns_image(deployment, container) else "",
        has_pods=wanted > 0,
        rolled_out=current and all(count == wanted for count in counts),
        given_up=str(progress.get("message", "")) if progress.get("reason") == FAR_TOO_LATE and current else "",
        release=(metadata.get("annotations") or {}).get("meta.helm.sh/release-name"),
    )


def label_of(tag: str) -> str:
    """Write a tag as the chart's label does."""
    found = re.match(r"[A-Za-z0-9](.*[A-Za-z0-9])?", tag[:LABEL_CHARACTERS_MAX])
    return found[0] if found else ""


def own_resource_of(kind: str, body: Mapping[str, Any]) -> OwnResource:
    """Read a resource of ours; what was said of a spec that it has no more is not said again."""
    metadata, status = body["metadata"], body.get("status") or {}
    ready, stalled = ready_of(status) or {}, condition_of(status, "Stalled") or {}
    current = ready.get("observedGeneration", 0) >= metadata.get("generation", 1)
    truths = {"True": True, "False": False}
    paused = is_paused(metadata.get("annotations") or {})
    if current:
        message = str(ready.get("message") or "")
    elif paused:
        message = f"It was changed while it is paused; remove the annotation {PAUSED_ANNOTATION}, and it is looked at."
    else:
        message = "The operator hasn't looked at its newest spec yet."
    return OwnResource(
        kind=kind,
        name=metadata["name"],
        ready=truths.get(str(ready.get("status"))) if current else None,
        reason=str(ready.get("reason") or ""),
        message=message,
        stalled=current and stalled.get("status") == "True",
        paused=paused,
        deleting=bool(metadata.get("deletionTimestamp")),
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
    behind = [component for component in health.components if not component.rolled_out]
    if missing:
        message = f"Not there: {', '.join(missing)}. {_HOW_IT_COMES}"
        return Condition(type="ComponentsReady", status="False", reason="Missing", message=message)
    if behind:
        given_up = "".join(f" {component.name}: {component.given_up}" for component in behind if component.given_up)
        names = ", ".join(component.name for component in behind)
        message = f"Not rolled out: {names}; events of the Pods say why.{given_up}"
        return Condition(type="ComponentsReady", status="False", reason="RollingOut", message=message)
    empty = ", ".join(component.name for component in health.components if not component.has_pods)
    message = f"All are rolled out. Without any Pod, since scaled to 0: {empty}." if empty else "All are rolled out."
    return Condition(type="ComponentsReady", status="True", reason="RolledOut", message=message)


def _resources_ready(of_type: str, kinds: tuple[str, ...], resources: Sequence[OwnResource]) -> Condition:
    """Count those that are to stay; of what isn't ready, what a person has to put right is said first."""
    mine = [resource for resource in resources if resource.kind in kinds]
    going = [resource for resource in mine if resource.deleting and resource.ready is not False]
    counted = [resource for resource in mine if resource not in going]
    notes = f" Being deleted: {_named(going)}." if going else ""
    if not counted:
        message = f"There is no {' or '.join(kinds)}.{notes}"
        return Condition(type=of_type, status="Unknown", reason="None", message=message)
    left_alone = [resource for resource in counted if resource.paused and resource.ready]
    if left_alone:
        notes = f" Left alone while annotated with {PAUSED_ANNOTATION}: {_named(left_alone)}.{notes}"
    unready = sorted(
        (each for each in counted if not each.ready), key=lambda each: (not each.stalled, each.ready is None)
    )
    count = f"{len(counted) - len(unready)} of {len(counted)} are ready."
    if not unready:
        return Condition(type=of_type, status="True", reason="Ready", message=f"{count}{notes}")
    first, *others = unready
    either = f" Not ready either: {_named(others)}." if others else ""
    message = f"{count} {first}: {first.message}{either}{notes}"
    is_bad = any(resource.ready is False for resource in unready)
    return Condition(type=of_type, status=truth(False if is_bad else None), reason="NotReady", message=message)


def _named(resources: Sequence[OwnResource]) -> str:
    names = ", ".join(map(str, resources[:NAMED_MAX]))
    more = len(resources) - NAMED_MAX
    return f"{names} and {more} more" if more > 0 else names


def _has_ledger(health: Health) -> bool:
    """Tell whether there should be a ledger that answers."""
    ledger = health.component(COMPONENTS[0])
    return ledger is not None and ledger.has_pods


def _invariant_holds(health: Health) -> Condition:
    status: Truth = "Unknown"
    reason, message = "NotAudited", "No ledger audits its book at present."
    if not health.ledger_answers and _has_ledger(health):
        reason = NO_ANSWER
        message = "No ledger tells what its audit says: none answers the operator at /metrics, though Pods of it run."
    elif broken := sorted(name for name, holds in health.invariants.items() if not holds):
        status, reason = "False", "Broken"
        message = f"The audit of the book found {', '.join(broken)} broken; docs/runbooks says what to do first."
    elif health.invariants:
        status, reason, message = "True", "Audited", f"The audit found nothing against {len(health.invariants)} rules."
    return Condition(type="InvariantHolds", status=status, reason=reason, message=message)
