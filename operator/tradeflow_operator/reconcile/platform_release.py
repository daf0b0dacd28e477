"""The helm release that a TradeFlow resource asks for: its steps, its labels, and the values of each step. Pure.

Services come in the order of `COMPONENTS`: nobody calls what isn't there yet. Those that a step hasn't reached keep
their image and their values, those said for all included, so that a change of any kind reaches one service after the
other.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator import GROUP
from tradeflow_operator.reconcile.durations import PATTERN
from tradeflow_operator.reconcile.ownership import DeletionPolicy
from tradeflow_operator.reconcile.plan import Step
from tradeflow_operator.reconcile.platform_health import COMPONENTS, Component, Health
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource

OWNER_LABEL, DIGEST_LABEL, STEP_LABEL = f"{GROUP}/owner", f"{GROUP}/digest", f"{GROUP}/step"
"""Labels of our helm releases, which helm keeps beside its own."""

INSTEAD_OF_GLOBAL = "insteadOfGlobal"
"""The value of a service's chart that takes the place of what is said for all."""


class TradeFlowSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    management: Literal["Operator", "Observe"] = "Operator"
    version: str | None = None
    release_name: str | None = None
    values: Mapping[str, Any] = {}
    suspend: bool = False
    step_timeout: Annotated[str, msgspec.Meta(pattern=PATTERN, min_length=2)] = "10m"
    deletion_policy: DeletionPolicy = "Delete"

    @property
    def manages(self) -> bool:
        """Whether the platform is changed at all."""
        return self.management == "Operator" and not self.suspend

    @property
    def uninstalls(self) -> bool:
        """Whether the release goes with its resource."""
        return self.manages and self.deletion_policy == "Delete"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The newest revision of the helm release."""

    revision: int
    status: str
    labels: Mapping[str, str]
    since: str
    """When it was made."""
    values: Mapping[str, Any] = {}
    """What it was made with; they may hold secrets, and are told to nobody."""

    @property
    def is_pending(self) -> bool:
        """Whether a helm process is at it, or died at it."""
        return self.status.startswith("pending-")

    @property
    def is_first(self) -> bool:
        """Whether nothing of it was ever there before."""
        return self.status == "pending-install"


class UpgradeRelease(Step, frozen=True, kw_only=True):
    """Let helm install or upgrade the release."""

    release: str
    step: str
    values: Mapping[str, Any]
    labels: Mapping[str, str]
    sets_back: tuple[str, ...] = ()
    """Objects that somebody changed by hand."""

    def sentence(self) -> str:
        """Say it."""
        why = f", to set back {', '.join(self.sets_back)}" if self.sets_back else ""
        return f"Upgrade the release {self.release}: {self.step}{why}"


class ForgetPending(Step, frozen=True, kw_only=True):
    """Remove the record of a helm process that died; what it made stays, and the next upgrade goes on with it."""

    release: str
    revision: int

    def sentence(self) -> str:
        """Say it."""
        return f"Forget revision {self.revision} of the release {self.release}, at which helm was stopped"


class UninstallRelease(Step, frozen=True, kw_only=True):
    """Let helm take the release away; topics, subjects, keys and databases are none of its objects, and stay."""

    release: str

    def sentence(self) -> str:
        """Say it."""
        return f"Uninstall the release {self.release}"


def steps_of(spec: TradeFlowSpec) -> tuple[str, ...]:
    """Name the services that the release installs, in the order of its steps."""
    installs = _found(spec.values, "install")
    return tuple(name for name in COMPONENTS if installs.get(name) is not False)


def release_name_of(resource: Resource[TradeFlowSpec]) -> str:
    """Name the helm release."""
    return resource.spec.release_name or resource.name


def digest_of(resource: Resource[TradeFlowSpec]) -> str:
    """Name what is asked for; a new value of the force annotation asks for it anew."""
    spec = resource.spec
    told = [spec.version, spec.values, resource.annotations.get(FORCE_ANNOTATION)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def labels_of(resource: Resource[TradeFlowSpec], step: str) -> dict[str, str]:
    """Write the labels of a revision."""
    return {OWNER_LABEL: resource.name, DIGEST_LABEL: digest_of(resource), STEP_LABEL: step}


def wanted_tag(spec: TradeFlowSpec, name: str) -> str | None:
    """Tell which tag or digest a service is asked to have: its own or the one for all, and a digest wins over a tag."""
    own, for_all = _found(spec.values, name, "image"), _found(spec.values, "global", "tradeflow", "image")
    tag: str | None = own.get("digest") or for_all.get("digest") or own.get("tag") or spec.version
    return tag


def values_of(spec: TradeFlowSpec, health: Health, step: str, *, before: Mapping[str, Any]) -> dict[str, Any]:
    """Write the umbrella's values for a step.

    Args:
        spec: What is asked for.
        health: What is there.
        step: Services up to this one become what is asked for, others stay as they are.
        before: The values of the revision that is there.
    """
    values: dict[str, Any] = copy.deepcopy(dict(spec.values))
    image = _section(_section(_section(values, "global"), "tradeflow"), "image")
    image["tag"] = spec.version
    # A digest for all would win over the tags of services that stay behind: each gets it in its turn.
    digest = image.pop("digest", "")
    steps = steps_of(spec)
    for name in steps:
        component = health.component(name)
        if _comes_with(steps, name, step, is_there=component is not None):
            if digest:
                own = _section(_section(values, name), "image")
                own["digest"] = own.get("digest") or digest
        elif component is None:
            _section(values, "install")[name] = False
        else:
            values[name] = _as_it_is(component, before)
    # The umbrella makes one that observes, for those who install by helm: here that would be a second one.
    _section(values, "observe")["create"] = False
    return values


def _comes_with(steps: Sequence[str], name: str, step: str, *, is_there: bool) -> bool:
    """Tell whether a step makes a service what is asked for.

    A gateway that isn't there yet comes with orders, which is ready once it has the public keys that a gateway shows.
    """
    return steps.index(name) <= steps.index(step) or (not is_there and step != COMPONENTS[0])


def _as_it_is(component: Component, before: Mapping[str, Any]) -> dict[str, Any]:
    """Write the values of a service that stays as it is: its own, and what was said for all when it had its turn.

    Who pinned the image of a tag pins it again.
    """
    values: dict[str, Any] = copy.deepcopy(dict(_found(before, component.name)))
    # It is there already where the revision before left this service waiting too.
    for_all = values.get(INSTEAD_OF_GLOBAL) or _found(before, "global", "tradeflow")
    values[INSTEAD_OF_GLOBAL] = copy.deepcopy(dict(for_all))
    image = _section(values, "image")
    if component.tag:
        image |= {"tag": component.tag, "digest": ""}
    else:
        image["digest"] = component.digest
    return values


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of values to write into; what a person left empty is made."""
    if not isinstance(values.get(name), dict):
        values[name] = {}
    section: dict[str, Any] = values[name]
    return section


def _found(values: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a part of values to read."""
    for name in names:
        inner = values.get(name)
        values = inner if isinstance(inner, Mapping) else {}
    return values
