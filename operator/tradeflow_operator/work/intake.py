"""What comes in from the watches: noted, told apart from our own writes, and queued."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from tradeflow_operator.conditions import ready_of
from tradeflow_operator.errors import RefusedError
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.resources import FORCE_ANNOTATION, ObjectKey, key_of, wishes_of
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.queue import Priority, WorkQueue

GONE = "DELETED"
"""The type of an event that says so."""


class Intake:
    """Feeds the queue; called for each event, so it does little, and never waits."""

    def __init__(self, kinds: Kinds, known: KnownResources, queue: WorkQueue, *, held: Iterable[str] = ()) -> None:
        """Prepare.

        Args:
            kinds: Those that are served.
            known: Where what comes in is noted.
            queue: What is fed.
            held: Names of kinds of which nothing is queued before `release`.
        """
        self._kinds = kinds
        self._known = known
        self._queue = queue
        self._held = set(held)
        self.last_event_at: dict[str, float] = {}
        """By kind, by `time.monotonic`."""

    def note(self, kind: str, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take in one event; the type is None for what was there when the watch began."""
        self.last_event_at[kind] = time.monotonic()
        key = key_of(kind, body)
        before = self._known.get(key)
        if event_type == GONE:
            if before is None or _uid_of(before) == _uid_of(body):
                self.gone(key)
            return
        self._known.put(key, body)
        self._index(key, body)
        if before is not None and _uid_of(before) != _uid_of(body):
            self._kinds[kind].forget(key)
        changed = before is None or wishes_of(before) != wishes_of(body)
        if changed:
            self._add(key, _priority_of(body))
        if before is None or changed or _says(before) != _says(body):
            self._tell_dependents(key)

    def gone(self, key: ObjectKey) -> None:
        """Forget a resource, and let those look that stood behind it."""
        rivals, dependents = self._known.rivals_of(key), self._known.dependents_of(key)
        self._known.remove(key)
        self._queue.forget(key)
        self._kinds[key.kind].forget(key)
        self._wake([*rivals, *dependents])

    def enqueue_all(self) -> None:
        """Let all resources be looked at: this process begins to lead, and doesn't know what the last one did."""
        for key, body in self._known.all():
            self._add(key, _priority_of(body))

    def release(self, kind: str) -> None:
        """Queue what was held back: all of this kind have come in, so who claims what is known."""
        self._held.discard(kind)
        for key, body in self._known.all():
            if kind in self._kinds_behind(key):
                self._add(key, _priority_of(body))

    def _index(self, key: ObjectKey, body: Mapping[str, Any]) -> None:
        kind = self._kinds[key.kind]
        rivals_before, shared_before = self._known.rivals_of(key), self._known.shared_by(key)
        try:
            resource = kind.parse(body)
        except RefusedError:
            self._known.index(key, references=(), claim=None)
        else:
            claim, shares = kind.claim(resource), kind.shares(resource)
            self._known.index(key, references=kind.references(resource), claim=claim, shares=shares)
        rivals_now = self._known.rivals_of(key)
        if set(rivals_before) != set(rivals_now) or shared_before != self._known.shared_by(key):
            self._wake([*rivals_before, *rivals_now])

    def _tell_dependents(self, key: ObjectKey) -> None:
        dependents = self._known.dependents_of(key)
        for dependent in dependents:
            body = self._known.get(dependent)
            if body is not None:
                self._index(dependent, body)  # what it claims may follow from what it refers to
        self._wake(dependents)

    def _wake(self, keys: list[ObjectKey]) -> None:
        for key in keys:
            self._add(key, Priority.WOKEN)

    def _add(self, key: ObjectKey, priority: Priority) -> None:
        if self._held.isdisjoint(self._kinds_behind(key)):
            self._queue.add(key, priority)

    def _kinds_behind(self, key: ObjectKey) -> set[str]:
        """Name the kinds that have to be known for a resource: what it claims follows from what it refers to, too."""
        return {key.kind, *(referred.kind for referred in self._known.references_of(key))}


def _priority_of(body: Mapping[str, Any]) -> Priority:
    """Put what a person waits for ahead of what was only read again after a start."""
    status = body.get("status") or {}
    ready = ready_of(status)
    handled = (
        status.get("observedGeneration") == body["metadata"].get("generation")
        and ready is not None
        and ready.get("status") == "True"
        and not body["metadata"].get("deletionTimestamp")
        and (body["metadata"].get("annotations") or {}).get(FORCE_ANNOTATION) in {None, status.get("lastHandledForce")}
    )
    return Priority.RESYNC if handled else Priority.CHANGED


def _says(body: Mapping[str, Any]) -> Any:
    """Tell what others may go by: whether it is ready, and what it found."""
    status = body.get("status") or {}
    ready = ready_of(status) or {}
    return ready.get("status"), {name: value for name, value in status.items() if name != "conditions"}


def _uid_of(body: Mapping[str, Any]) -> Any:
    return body["metadata"].get("uid")
