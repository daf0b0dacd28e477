"""TradeFlow: which step of a roll-out comes next, or only how the platform is. Pure.

A roll-out is one helm release, upgraded step by step: ledger, orders, gateway, each once the one before is rolled
out. New Pods of a service wait for its DatabaseMigration (the chart sees to that), so its migrations come before it.
Helm's own record says how far it is: the release's labels name the step and the digest of what was asked for. So a
process that dies goes on where helm is, and a step that fails leaves the old version running: a Deployment's old Pods
serve until new ones are ready. Once all is rolled out, Pods that come and go are health, and no step that fails.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tradeflow_operator.reconcile.durations import seconds_of
from tradeflow_operator.reconcile.plan import Plan, Verdict, refused, waiting
from tradeflow_operator.reconcile.platform_drift import may_be_set_back, noted_fields, objects_changed_by_hand
from tradeflow_operator.reconcile.platform_health import (
    NO_ANSWER,
    Component,
    Health,
    components_told,
    health_conditions,
)
from tradeflow_operator.reconcile.platform_release import (
    DIGEST_LABEL,
    OWNER_LABEL,
    STEP_LABEL,
    ForgetPending,
    Release,
    TradeFlowSpec,
    UninstallRelease,
    UpgradeRelease,
    digest_of,
    labels_of,
    release_name_of,
    steps_of,
    values_of,
    wanted_tag,
)
from tradeflow_operator.resources import Resource, instant_of

LOOK_AGAIN_SECONDS = 3.0
"""While a step is under way."""

ASKS_A_PERSON = "AwaitingApproval"
"""The reason of a DatabaseMigration that waits for somebody's word."""


class PlatformSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is."""

    release: Release | None
    health: Health
    owned_fields: Mapping[str, str] | None = None
    """By object of the release, a digest of what helm owns of it; None where nobody looked."""
    namespace_terminating: bool = False
    """Only looked at before a deletion, and where something would be set back."""


class Hindrance(msgspec.Struct, frozen=True):
    """What a step still waits for."""

    message: str
    is_final: bool = False
    """Whether nothing will change before a person acts."""
    is_patient: bool = False
    """Whether a person was asked, who may take as long as it takes."""


def plan_platform(resource: Resource[TradeFlowSpec], seen: PlatformSeen, now: datetime) -> Plan:
    """Decide."""
    spec = resource.spec
    if resource.deleting:
        return _plan_deletion(resource, seen)
    if not spec.manages:
        reason = "Suspended" if spec.management == "Operator" else "Observed"
        return Plan(verdict=_summary(resource, seen, reason=reason, message=""))
    if mistake := _mistake(spec):
        # What was deployed before goes with its resource all the same.
        keep = spec.uninstalls and seen.release is not None and _is_ours(resource, seen.release)
        return Plan(verdict=_told(resource, seen, refused("InvalidSpec", mistake)), keep_finalizer=keep)
    if foreign := _foreign(resource, seen):
        return Plan(verdict=_told(resource, seen, refused("ForeignRelease", foreign)))
    return msgspec.structs.replace(_plan_release(resource, seen, now), keep_finalizer=spec.uninstalls)


def _mistake(spec: TradeFlowSpec) -> str | None:
    if spec.version is None:
        return "management: Operator needs spec.version."
    if not steps_of(spec):
        return "spec.values.install leaves none of ledger, orders and gateway; leave one of them in."
    return None


def _plan_deletion(resource: Resource[TradeFlowSpec], seen: PlatformSeen) -> Plan:
    """Take away what is ours; in a namespace that ends, Kubernetes does so, and must not wait for us."""
    release = seen.release
    if not resource.spec.uninstalls or seen.namespace_terminating or release is None or not _is_ours(resource, release):
        return Plan(verdict=waiting("Deleted", "Nothing is left to be done."))
    step = UninstallRelease(release=release_name_of(resource))
    verdict = waiting("Uninstalling", "The platform is being removed; its data stays.")
    return Plan(steps=(step,), verdict=_told(resource, seen, verdict), keep_finalizer=True)


def _plan_release(resource: Resource[TradeFlowSpec], seen: PlatformSeen, now: datetime) -> Plan:
    """Bring the release to what is asked for."""
    name, release = release_name_of(resource), seen.release
    if failed := _failed_before(resource, seen.health):
        return Plan(verdict=_told(resource, seen, _step_failed(failed)))
    if release is not None and release.is_pending:
        # Without its record nobody would know whose the objects of a first installation are.
        again = UninstallRelease(release=name)
        step = again if release.is_first else ForgetPending(release=name, revision=release.revision)
        return Plan(steps=(step,), verdict=_under_way(resource, seen, "A helm process was stopped."))
    if release is None or release.labels.get(DIGEST_LABEL) != digest_of(resource) or release.status == "failed":
        return _upgrade(resource, seen, steps_of(resource.spec)[0])
    if _is_rolled_out(resource):
        return _stay(resource, seen, release, now)
    return _go_on(resource, seen, release, now)


def _is_rolled_out(resource: Resource[TradeFlowSpec]) -> bool:
    """Tell whether all steps were taken of what is asked for."""
    return bool(resource.status.get("rolledOut") == digest_of(resource))


def _stay(resource: Resource[TradeFlowSpec], seen: PlatformSeen, release: Release, now: datetime) -> Plan:
    """Sum up what was rolled out; what somebody deleted is made again, and what somebody changed is set back."""
    # An image that is rewritten whenever helm sets it is no reason to deploy without a pause, either.
    others = _missing_or_other(resource, seen.health)
    changed = (*others, *_changed_by_hand(resource, seen))
    if changed and may_be_set_back(release, now):
        return _upgrade(resource, seen, steps_of(resource.spec)[-1])
    if others:
        verdict = _under_way(resource, seen, f"Not as it was deployed: {', '.join(others)}.")
    else:
        message = f"Version {resource.spec.version} runs."
        verdict = _summary(resource, seen, reason="Deployed", message=message, rolledOut=digest_of(resource))
    return Plan(verdict=_with_changes(verdict, changed) if changed else verdict)


def _missing_or_other(resource: Resource[TradeFlowSpec], health: Health) -> tuple[str, ...]:
    """Name the services that aren't there, or with another image than is wanted."""
    told = []
    for name in steps_of(resource.spec):
        component, wanted = health.component(name), wanted_tag(resource.spec, name)
        if component is None:
            told.append(f"{name}, which is gone")
        elif not component.has(wanted):
            told.append(f"{name}, whose {_other_image(component, wanted)}")
    return tuple(told)


def _other_image(component: Component, wanted: str | None) -> str:
    return f"image is {component.image} instead of {wanted}"


def _changed_by_hand(resource: Resource[TradeFlowSpec], seen: PlatformSeen) -> tuple[str, ...]:
    if seen.release is None or seen.owned_fields is None or seen.namespace_terminating:
        return ()
    return objects_changed_by_hand(resource, seen.release, seen.owned_fields)


def _with_changes(verdict: Verdict, changed: Sequence[str]) -> Verdict:
    """Say what is set back soon."""
    drift = (
        f"Changed or deleted by hand, and set back within a minute: {', '.join(changed)}. "
        "Whoever wants it so puts it into spec.values, or sets spec.suspend meanwhile."
    )
    return msgspec.structs.replace(
        verdict, synced=False, drifted=True, drift=drift, check_again_seconds=2 * LOOK_AGAIN_SECONDS
    )


def _go_on(resource: Resource[TradeFlowSpec], seen: PlatformSeen, release: Release, now: datetime) -> Plan:
    """Wait for the step that helm has taken, or take the next one."""
    steps = steps_of(resource.spec)
    step = release.labels.get(STEP_LABEL, steps[0])
    hindrance = _hindrance(resource, seen.health, step)
    if hindrance is None:
        following = steps[steps.index(step) + 1 :] if step in steps else steps
        return _upgrade(resource, seen, following[0]) if following else _stay(resource, seen, release, now)
    began_at = instant_of(release.since) or now
    is_late = now - began_at > timedelta(seconds=seconds_of(resource.spec.step_timeout))
    if hindrance.is_final or (is_late and not hindrance.is_patient):
        message = f"The step {step} failed, and later ones wait: {hindrance.message} What ran before runs on."
        failed = {"step": step, "digest": digest_of(resource), "message": message}
        return Plan(verdict=_told(resource, seen, _step_failed(message), failedStep=failed))
    return Plan(verdict=_under_way(resource, seen, f"{step}: {hindrance.message}", step=step))


def _hindrance(resource: Resource[TradeFlowSpec], health: Health, step: str) -> Hindrance | None:
    """Say what a step still waits for."""
    migration = f"{release_name_of(resource)}-{step}"
    for each in health.resources:
        if each.kind == "DatabaseMigration" and each.name == migration and each.ready is not True:
            asks = each.reason == ASKS_A_PERSON
            return Hindrance(f"its migrations: {each.message}", is_final=each.stalled and not asks, is_patient=asks)
    component = health.component(step)
    if component is None:
        return Hindrance("it isn't there yet.")
    if component.given_up:
        return Hindrance(component.given_up, is_final=True)
    wanted = wanted_tag(resource.spec, step)
    if not component.has(wanted):
        return Hindrance(f"its {_other_image(component, wanted)}.")
    if not component.rolled_out:
        return Hindrance("it isn't rolled out yet.")
    return None


def _upgrade(resource: Resource[TradeFlowSpec], seen: PlatformSeen, step: str) -> Plan:
    before = seen.release.values if seen.release else {}
    upgrade = UpgradeRelease(
        release=release_name_of(resource),
        step=step,
        values=values_of(resource.spec, seen.health, step, before=before),
        labels=labels_of(resource, step),
        sets_back=_changed_by_hand(resource, seen),
    )
    return Plan(steps=(upgrade,), verdict=_under_way(resource, seen, f"The step {step} begins.", step=step))


def _is_ours(resource: Resource[TradeFlowSpec], release: Release) -> bool:
    return release.labels.get(OWNER_LABEL) == resource.name


def _foreign(resource: Resource[TradeFlowSpec], seen: PlatformSeen) -> str | None:
    name, release = release_name_of(resource), seen.release
    if release is not None and not _is_ours(resource, release):
        return f"The helm release {name} is somebody else's. Use management: Observe, or another releaseName."
    for component in seen.health.components:
        if component.release != name or release is None:
            owner = f"the helm release {component.release}" if component.release else "no helm release"
            there = f"{name}-{component.name} is there already and belongs to {owner}; nothing may have two owners."
            return f"{there} Remove it first, or use another releaseName."
    return None


def _failed_before(resource: Resource[TradeFlowSpec], health: Health) -> str | None:
    """Say why a step failed that isn't tried again: nothing new is asked for, and what hindered it still does."""
    failed = resource.status.get("failedStep") or {}
    if failed.get("digest") != digest_of(resource) or _hindrance(resource, health, failed.get("step", "")) is None:
        return None
    return str(failed.get("message", ""))


def _step_failed(message: str) -> Verdict:
    """Say that a person has to act, and look whether one did: where it was put right, the step needs nothing new."""
    return refused("StepFailed", message, check_again_seconds=10 * LOOK_AGAIN_SECONDS)


def _under_way(
    resource: Resource[TradeFlowSpec], seen: PlatformSeen, message: str, *, step: str | None = None
) -> Verdict:
    verdict = Verdict(
        ready=False, synced=False, reason="RollingOut", message=message, check_again_seconds=LOOK_AGAIN_SECONDS
    )
    return _told(resource, seen, verdict, step=step)


def _summary(
    resource: Resource[TradeFlowSpec], seen: PlatformSeen, *, reason: str, message: str, **more: Any
) -> Verdict:
    """Be ready when the components are, and nothing is wrong with the rest; unknown where the money can't be seen."""
    conditions = health_conditions(seen.health)
    wrong = [condition for condition in conditions if condition.status == "False"]
    # Broken money comes first: nothing else matters as much.
    wrong.sort(key=lambda condition: condition.type != "InvariantHolds")
    unseen = [condition for condition in conditions if condition.reason == NO_ANSWER]
    trouble = next(iter((*wrong, *unseen)), None)
    ready = True if trouble is None else False if wrong else None
    verdict = Verdict(
        ready=ready,
        synced=ready,
        reason=trouble.reason if trouble else reason,
        message=trouble.message if trouble else (message or "The platform is as it should be."),
        check_again_seconds=LOOK_AGAIN_SECONDS * (2 if trouble else 10),
    )
    return _told(resource, seen, verdict, **more)


def _told(resource: Resource[TradeFlowSpec], seen: PlatformSeen, verdict: Verdict, **more: Any) -> Verdict:
    """Add what every verdict tells: the conditions, and how far it is."""
    release = seen.release
    versions = {component.version for component in seen.health.components}
    status = {
        "version": versions.pop() if len(versions) == 1 else None,
        "components": components_told(seen.health),
        "release": release
        and {"name": release_name_of(resource), "revision": release.revision, "status": release.status},
        "failedStep": resource.status.get("failedStep") if _failed_before(resource, seen.health) else None,
        "rolledOut": resource.status.get("rolledOut") if _is_rolled_out(resource) else None,
        "ownedFields": noted_fields(resource, release, seen.owned_fields),
        **more,
    }
    return msgspec.structs.replace(verdict, conditions=health_conditions(seen.health), status=status)
