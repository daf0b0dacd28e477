"""TradeFlow: which step of a roll-out comes next, or only how the platform is. Pure.

A roll-out is one helm release, upgraded step by step: ledger, orders, gateway, each once the one before is rolled
out. New Pods of a service wait for its DatabaseMigration (the chart sees to that), so its migrations come before it.
Helm's own record says how far it is: the release's labels name the step and the digest of what was asked for. So a
process that dies goes on where helm is, and a step that fails leaves the old version running: a Deployment's old Pods
serve until new ones are ready.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator import GROUP
from tradeflow_operator.reconcile.durations import PATTERN, seconds_of
from tradeflow_operator.reconcile.plan import Plan, Step, Verdict, refused
from tradeflow_operator.reconcile.platform_health import COMPONENTS, Health, components_told, health_conditions
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource, instant_of

STEPS = COMPONENTS
"""In this order: nobody calls what isn't there yet."""

OWNER_LABEL, DIGEST_LABEL, STEP_LABEL = f"{GROUP}/owner", f"{GROUP}/digest", f"{GROUP}/step"
"""Labels of our helm releases, which helm keeps beside its own."""

LOOK_AGAIN_SECONDS = 3.0
"""While a step is under way."""


class TradeFlowSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    management: Literal["Operator", "Observe"] = "Operator"
    version: str | None = None
    release_name: str | None = None
    values: Mapping[str, Any] = {}
    suspend: bool = False
    step_timeout: Annotated[str, msgspec.Meta(pattern=PATTERN, min_length=2)] = "10m"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The newest revision of the helm release."""

    revision: int
    status: str
    labels: Mapping[str, str]
    since: str
    """When it was made."""

    @property
    def is_pending(self) -> bool:
        """Whether a helm process is at it, or died at it."""
        return self.status.startswith("pending-")


class PlatformSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    release: Release | None
    health: Health


class UpgradeRelease(Step, frozen=True, kw_only=True):
    """Let helm install or upgrade the release."""

    release: str
    step: str
    values: Mapping[str, Any]
    labels: Mapping[str, str]

    def sentence(self) -> str:
        """Say it."""
        return f"Upgrade the release {self.release}: {self.step}"


class ForgetPending(Step, frozen=True, kw_only=True):
    """Remove the record of a helm process that died; what it made stays, and the next upgrade goes on with it."""

    release: str
    revision: int

    def sentence(self) -> str:
        """Say it."""
        return f"Forget revision {self.revision} of the release {self.release}, at which helm was stopped"


def release_name_of(resource: Resource[TradeFlowSpec]) -> str:
    """Name the helm release."""
    return resource.spec.release_name or resource.name


def digest_of(resource: Resource[TradeFlowSpec]) -> str:
    """Name what is asked for; a new value of the force annotation asks for it anew."""
    spec = resource.spec
    told = [spec.version, spec.values, resource.annotations.get(FORCE_ANNOTATION)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def plan_platform(resource: Resource[TradeFlowSpec], seen: PlatformSeen, now: datetime) -> Plan:
    """Decide."""
    spec = resource.spec
    if spec.management == "Observe" or spec.suspend:
        reason = "Suspended" if spec.suspend and spec.management == "Operator" else "Observed"
        return Plan(verdict=_summary(resource, seen, reason=reason, message=""))
    if objection := _objection(resource, seen):
        return Plan(verdict=_told(resource, seen, objection))
    release = seen.release
    if release is not None and release.is_pending:
        step = ForgetPending(release=release_name_of(resource), revision=release.revision)
        return Plan(steps=(step,), verdict=_under_way(resource, seen, "A helm process was stopped."))
    if release is None or release.labels.get(DIGEST_LABEL) != digest_of(resource) or release.status == "failed":
        return _upgrade(resource, seen, STEPS[0])
    return _go_on(resource, seen, release, now)


def _objection(resource: Resource[TradeFlowSpec], seen: PlatformSeen) -> Verdict | None:
    """Say why nothing may be deployed."""
    if resource.spec.version is None:
        return refused("InvalidSpec", "management: Operator needs spec.version.")
    if foreign := _foreign(resource, seen):
        return refused("ForeignRelease", foreign)
    if failed := _failed_before(resource):
        return refused("StepFailed", failed)
    return None


def _go_on(resource: Resource[TradeFlowSpec], seen: PlatformSeen, release: Release, now: datetime) -> Plan:
    """Wait for the step that helm has taken, or take the next one."""
    step = release.labels.get(STEP_LABEL, STEPS[0])
    hindrance = _hindrance(resource, seen.health, step)
    if hindrance is None:
        following = STEPS[STEPS.index(step) + 1 :] if step in STEPS else STEPS
        if following:
            return _upgrade(resource, seen, following[0])
        message = f"Version {resource.spec.version} runs."
        return Plan(verdict=_summary(resource, seen, reason="Deployed", message=message))
    component = seen.health.component(step)
    given_up = component.given_up if component else ""
    began_at = instant_of(release.since) or now
    if given_up or now - began_at > timedelta(seconds=seconds_of(resource.spec.step_timeout)):
        message = f"The step {step} failed, and later ones wait: {given_up or hindrance} What ran before runs on."
        failed = {"step": step, "digest": digest_of(resource), "message": message}
        return Plan(verdict=_told(resource, seen, refused("StepFailed", message), failedStep=failed))
    return Plan(verdict=_under_way(resource, seen, f"{step}: {hindrance}", step=step))


def _hindrance(resource: Resource[TradeFlowSpec], health: Health, step: str) -> str | None:
    """Say what a step still waits for."""
    migration = f"{release_name_of(resource)}-{step}"
    for each in health.resources:
        if each.kind == "DatabaseMigration" and each.name == migration and each.ready is not True:
            return f"its migrations: {each.message}"
    component = health.component(step)
    if component is None:
        return "it isn't there yet."
    if component.tag != resource.spec.version or not component.rolled_out:
        return "it isn't rolled out yet."
    return None


def _upgrade(resource: Resource[TradeFlowSpec], seen: PlatformSeen, step: str) -> Plan:
    upgrade = UpgradeRelease(
        release=release_name_of(resource),
        step=step,
        values=values_of(resource.spec, seen.health, step),
        labels={OWNER_LABEL: resource.name, DIGEST_LABEL: digest_of(resource), STEP_LABEL: step},
    )
    return Plan(steps=(upgrade,), verdict=_under_way(resource, seen, f"The step {step} begins.", step=step))


def values_of(spec: TradeFlowSpec, health: Health, step: str) -> dict[str, Any]:
    """Write the umbrella's values for a step: services up to it are of the new version, others stay as they are."""
    values: dict[str, Any] = copy.deepcopy(dict(spec.values))
    image = values.setdefault("global", {}).setdefault("tradeflow", {}).setdefault("image", {})
    image["tag"] = spec.version
    install = values.setdefault("install", {})
    for name in COMPONENTS:
        if STEPS.index(name) <= STEPS.index(step):
            continue
        found = health.component(name)
        if found is None:
            install[name] = False
        else:
            of_component = values.setdefault(name, {}).setdefault("image", {})
            of_component["digest" if found.tag.startswith("sha256:") else "tag"] = found.tag
    # The umbrella makes one that observes, for those who install by helm: here that would be a second one.
    values.setdefault("observe", {})["create"] = False
    return values


def _foreign(resource: Resource[TradeFlowSpec], seen: PlatformSeen) -> str | None:
    name, release = release_name_of(resource), seen.release
    if release is not None and release.labels.get(OWNER_LABEL) != resource.name:
        return f"The helm release {name} is somebody else's. Use management: Observe, or another releaseName."
    for component in seen.health.components:
        if component.release != name or release is None:
            owner = f"the helm release {component.release}" if component.release else "no helm release"
            return f"{name}-{component.name} is there already and belongs to {owner}; nothing may have two owners."
    return None


def _failed_before(resource: Resource[TradeFlowSpec]) -> str | None:
    """A failed step isn't tried again before something is asked for that is new."""
    failed = resource.status.get("failedStep") or {}
    return str(failed.get("message", "")) if failed.get("digest") == digest_of(resource) else None


def _under_way(
    resource: Resource[TradeFlowSpec], seen: PlatformSeen, message: str, *, step: str | None = None
) -> Verdict:
    verdict = Verdict(
        ready=False, synced=False, reason="RollingOut", message=message, check_again_seconds=LOOK_AGAIN_SECONDS
    )
    return _told(resource, seen, verdict, step=step)


def _summary(resource: Resource[TradeFlowSpec], seen: PlatformSeen, *, reason: str, message: str) -> Verdict:
    """Be ready when the components are, and nothing that is known of the rest is wrong."""
    conditions = {condition.type: condition for condition in health_conditions(seen.health)}
    wrong = [condition for condition in conditions.values() if condition.status == "False"]
    # Broken money comes first: nothing else matters as much.
    wrong.sort(key=lambda condition: condition.type != "InvariantHolds")
    verdict = Verdict(
        ready=not wrong,
        synced=not wrong,
        reason=wrong[0].reason if wrong else reason,
        message=wrong[0].message if wrong else (message or "The platform is as it should be."),
        check_again_seconds=LOOK_AGAIN_SECONDS * (2 if wrong else 10),
    )
    return _told(resource, seen, verdict)


def _told(resource: Resource[TradeFlowSpec], seen: PlatformSeen, verdict: Verdict, **more: Any) -> Verdict:
    """Add what every verdict tells: the conditions, and how far it is."""
    release = seen.release
    tags = {component.tag for component in seen.health.components}
    status = {
        "version": tags.pop() if len(tags) == 1 else None,
        "components": components_told(seen.health.components),
        "release": release
        and {"name": release_name_of(resource), "revision": release.revision, "status": release.status},
        "failedStep": resource.status.get("failedStep") if _failed_before(resource) else None,
        **more,
    }
    return msgspec.structs.replace(verdict, conditions=health_conditions(seen.health), status=status)
