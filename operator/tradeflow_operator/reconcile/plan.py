"""What a plan is: steps that are still to be taken, and the verdict once none are left.

A worker observes, plans, takes the steps and observes again until a plan has no steps. So a plan never needs to know
what an earlier attempt had done when it was cut off: it sees only what is there.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tradeflow_operator.conditions import Condition


class Step(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="do"):
    """One effect; kinds derive theirs. Taken twice it has to do no harm: a crash may hide that it was taken."""

    def sentence(self) -> str:
        """Say in the imperative what it does, for the status, the log and `plan -f`."""
        raise NotImplementedError

    def noted_when_refused(self) -> Mapping[str, Any]:
        """Write the fields of the status that say that it wasn't taken, where it is refused for good; None removes one.

        What was noted before it, for a crash to find, would else make what others do later look like ours.
        """
        return {}


class NoteInStatus(Step, frozen=True, kw_only=True):
    """Write fields of the status before the next step, so that a crash after that step finds what was meant."""

    fields: Mapping[str, Any]

    def sentence(self) -> str:
        """Say it."""
        return f"note {', '.join(sorted(self.fields))} in the status"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a resource; None means that it isn't known."""

    ready: bool | None
    reason: str
    """A stable word in CamelCase."""
    message: str
    """A sentence that a person can act on, without secrets and without what changes at each look."""
    synced: bool | None
    stalled: bool = False
    """Whether nothing will change before a person acts."""
    drifted: bool | None = False
    drift: str = ""
    """What differs, if `drifted`."""
    conditions: tuple[Condition, ...] = ()
    """Those of the kind's own."""
    status: Mapping[str, Any] = {}
    """Fields of the status of the kind's own; a field that is missing here is removed."""
    check_again_seconds: float | None = None
    """When to look again, if that is sooner than the resync."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now."""

    verdict: Verdict
    """Holds if no step is left; with steps it says what is under way."""
    steps: tuple[Step, ...] = ()
    keep_finalizer: bool = False
    """Whether deleting the resource has to wait for us."""
    farewell: str = ""
    """An Event's text for a resource that is let go with something left undone."""


def in_sync(message: str, *, reason: str = "InSync", **more: Any) -> Verdict:
    """Say that all is as the spec asks."""
    return Verdict(ready=True, synced=True, reason=reason, message=message, **more)


def refused(reason: str, message: str, *, ready: bool | None = False, **more: Any) -> Verdict:
    """Say that a person has to act."""
    return Verdict(ready=ready, synced=False, stalled=True, reason=reason, message=message, **more)


def waiting(reason: str, message: str, *, ready: bool | None = False, **more: Any) -> Verdict:
    """Say that something has to happen first, and that the operator comes back by itself."""
    return Verdict(ready=ready, synced=False, reason=reason, message=message, **more)


def unknown(reason: str, message: str, **more: Any) -> Verdict:
    """Say that the world can't be seen at present."""
    return Verdict(ready=None, synced=None, drifted=None, reason=reason, message=message, **more)
