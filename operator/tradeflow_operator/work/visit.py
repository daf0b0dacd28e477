"""One visit to one resource: observe, plan, take the steps, until none is left; then say what came of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog

from tradeflow_operator.clients.kubernetes import KubernetesClient, resource_path
from tradeflow_operator.conditions import RESOURCE_CONFLICT
from tradeflow_operator.errors import NotLeaderError, RefusedError, UnavailableError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.log import without_secrets_within
from tradeflow_operator.reconcile.plan import NoteInStatus, Plan, Step, Verdict, refused, unknown
from tradeflow_operator.reconcile.status import paused_status_of, status_of
from tradeflow_operator.resources import ObjectKey, Resource, parse_resource
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.status_writer import StatusWriter

logger = structlog.get_logger(__name__)

FAILURES_UNTOLD = 2
"""So many failures in a row of what was ready aren't written down: a broker that restarts is no news of its topics."""

UNTOLD_SECONDS_MAX = 5.0
"""How soon to come back while trouble isn't written down: what it says of its own may be a minute, and twice that."""

FAILURES_BEFORE_LETTING_GO = 4
"""In a namespace that goes, so many failures in a row let a resource go: what it needs may have gone before it."""

REFUSED_DELETION_SECONDS = 30.0
"""How soon a deletion that something outside refused is tried again: its namespace may be going by then."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a visit ended."""

    word: str
    """For the metrics: in_sync, waiting, refused, conflict, paused, unavailable, failed, gone."""
    failed: bool = False
    """Whether to come back after a back-off."""
    again_seconds: float | None = None
    """When to come back, if that is known."""
    drifted: bool | None = False
    corrected: bool = False
    """Whether what was in sync before had to be changed, though nobody asked for anything new."""


GONE = Outcome(word="gone")

CONFLICT = "conflict"
"""The word of who gives way to another resource."""


class Visitor:
    """Visits resources; several at a time, but never one twice at a time (the queue sees to that)."""

    def __init__(self, known: KnownResources, kubernetes: KubernetesClient, writer: StatusWriter) -> None:
        """Prepare."""
        self._known = known
        self._kubernetes = kubernetes
        self._writer = writer

    async def visit(self, kind: Kind[Any, Any], key: ObjectKey, *, failures_before: int) -> Outcome:
        """Visit one resource.

        Raises:
            NotLeaderError: This process may not write any more.
            UnavailableError: The Kubernetes API doesn't take what has to be said.
        """
        body = self._known.get(key)
        if body is None:
            return GONE
        try:
            resource = kind.parse(body)
        except RefusedError as error:
            return await self._refuse_unreadable(kind, body, error)
        if resource.deleting and not resource.has_finalizer:
            return GONE
        if resource.paused:
            return await self._leave_alone(kind, resource, body)
        owner = self._known.owner_of_claim(key)
        if owner != key:
            return await self._give_way(kind, resource, body, owner)
        return await self._work(kind, resource, body, failures_before)

    async def _work(
        self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any], failures_before: int
    ) -> Outcome:
        at_rest = _was_ready(resource) and not resource.force_requested
        try:
            done = await self._carry_out(kind, resource, body)
        except _GoneError:
            return GONE
        except _OwnedByOtherError as other:
            return await self._give_way(kind, other.resource, other.body, other.owner)
        except NotLeaderError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the other resources
            verdict = _verdict_on(error, resource)
            failed = not verdict.stalled
            if resource.deleting:
                return await self._fail_to_delete(kind, resource, body, verdict, failures_before)
            if failed and failures_before < FAILURES_UNTOLD and at_rest:
                again_seconds = verdict.check_again_seconds
                soon = None if again_seconds is None else min(again_seconds, UNTOLD_SECONDS_MAX)
                return Outcome(word="unavailable", failed=True, again_seconds=soon)
            done = _Done(resource, body, Plan(verdict=verdict, keep_finalizer=resource.has_finalizer))
        else:
            failed = False
        await self._tell(kind, done.resource, done.body, done.plan, failed=failed)
        verdict = done.plan.verdict
        return Outcome(
            word="unavailable" if failed else _word_of(verdict),
            failed=failed,
            again_seconds=verdict.check_again_seconds,
            drifted=verdict.drifted,
            corrected=done.changed and at_rest and not resource.deleting,
        )

    async def _carry_out(self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any]) -> "_Done":
        confirmed = changed = False
        plan = Plan(verdict=unknown("Progressing", "It is under way."))
        for _ in range(kind.rounds_max):
            observed = await kind.observe(resource)
            plan = kind.plan(resource, observed, datetime.now(UTC))
            if not plan.steps and not (plan.keep_finalizer and not resource.has_finalizer):
                return _Done(resource, body, plan, changed)
            if not confirmed:
                resource, body, same = await self._confirmed(kind, resource)
                confirmed = True
                if not same:
                    continue
            self._check_owner(resource, body)
            if plan.keep_finalizer and not resource.has_finalizer and not resource.deleting:
                # Before the first effect, so that nothing is made that nobody would clean up.
                written = await self._writer.set_finalizer(kind, resource, body, wanted=True)
                if written is None:
                    raise _GoneError
                resource, body = self._noted(kind, written)
            for step in plan.steps:
                resource, body = await self._take(kind, resource, body, step)
                changed = changed or not isinstance(step, NoteInStatus)
        if plan.verdict.synced:
            # It holds only once no step is left; what servers show late is seen at the next visit.
            steps = ", and to ".join(step.sentence() for step in plan.steps)
            message = f"Each time it was done it was to be done again: to {steps}."
            raise UnavailableError(message, reason="StepsWithoutEffect")
        return _Done(resource, body, msgspec.structs.replace(plan, steps=()), changed)

    def _check_owner(self, resource: Resource[Any], body: Mapping[str, Any]) -> None:
        """Look once more before an effect: an older one may have come in while this one was looked at."""
        owner = self._known.owner_of_claim(resource.key)
        if owner != resource.key:
            raise _OwnedByOtherError(resource, body, owner)

    async def _take(
        self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any], step: Step
    ) -> tuple[Resource[Any], Mapping[str, Any]]:
        logger.info("step", resource=str(resource.key), step=step.sentence())
        if isinstance(step, NoteInStatus):
            return await self._note(kind, resource, step)
        try:
            await kind.apply(resource, step)
        except RefusedError:
            fields = step.noted_when_refused()
            if any(resource.status.get(name) != value for name, value in fields.items()):
                await self._note(kind, resource, NoteInStatus(fields=fields))
            raise
        return resource, body

    async def _confirmed(
        self, kind: Kind[Any, Any], resource: Resource[Any]
    ) -> tuple[Resource[Any], Mapping[str, Any], bool]:
        """Read the resource anew before its first effect: a watch may be late, and a deleted wish is no wish."""
        body = await self._kubernetes.read(resource_path(kind.plural, resource.namespace, resource.name))
        if body is None:
            raise _GoneError
        now, body_now = self._noted(kind, body)
        if now.uid != resource.uid or (now.deleting and not now.has_finalizer):
            raise _GoneError
        same = (now.generation, now.deleting, now.annotations) == (
            resource.generation,
            resource.deleting,
            resource.annotations,
        )
        return now, body_now, same

    async def _note(
        self, kind: Kind[Any, Any], resource: Resource[Any], step: NoteInStatus
    ) -> tuple[Resource[Any], Mapping[str, Any]]:
        written = await self._writer.patch_status(kind, resource, without_secrets_within(step.fields))
        if written is None:
            raise _GoneError
        return self._noted(kind, written)

    def _noted(self, kind: Kind[Any, Any], body: Mapping[str, Any]) -> tuple[Resource[Any], Mapping[str, Any]]:
        resource = kind.parse(body)
        self._known.put_own(resource.key, body)
        return resource, body

    async def _tell(
        self,
        kind: Kind[Any, Any],
        resource: Resource[Any],
        body: Mapping[str, Any],
        plan: Plan,
        *,
        failed: bool = False,
    ) -> None:
        if resource.deleting and not plan.keep_finalizer:
            if plan.farewell:
                await self._writer.post_farewell(kind, resource, reason=plan.verdict.reason, message=plan.farewell)
            await self._writer.set_finalizer(kind, resource, body, wanted=False)
            return
        if resource.has_finalizer and not plan.keep_finalizer:
            written = await self._writer.set_finalizer(kind, resource, body, wanted=False)
            if written is None:
                return
            resource, body = self._noted(kind, written)
        await self._write(kind, resource, status_of(resource, plan.verdict, datetime.now(UTC), failed=failed))

    async def _write(self, kind: Kind[Any, Any], resource: Resource[Any], status: Mapping[str, Any]) -> None:
        written = await self._writer.write_status(kind, resource, status)
        if written is not None:
            self._known.put_own(resource.key, written)

    async def _fail_to_delete(
        self,
        kind: Kind[Any, Any],
        resource: Resource[Any],
        body: Mapping[str, Any],
        verdict: Verdict,
        failures_before: int,
    ) -> Outcome:
        """Say why it isn't deleted yet; in a namespace that goes, let it go with what it has outside left as it is.

        There what it needs may be gone for good, such as its connection, and nothing can be made anew.
        """
        failed = not verdict.stalled
        hopeless = not failed or failures_before >= FAILURES_BEFORE_LETTING_GO
        if hopeless and await self._kubernetes.is_terminating(resource.namespace):
            farewell = f"What it stands for outside stays, since its namespace must not hang: {verdict.message}"
            await self._tell(kind, resource, body, Plan(verdict=refused("Retained", farewell), farewell=farewell))
            return GONE
        await self._tell(kind, resource, body, Plan(verdict=verdict, keep_finalizer=True))
        if failed:
            # At the pace of failures, whatever the error says of its own: the namespace may be waiting.
            return Outcome(word="unavailable", failed=True)
        return Outcome(word="refused", again_seconds=REFUSED_DELETION_SECONDS)

    async def _leave_alone(self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any]) -> Outcome:
        if resource.deleting:
            farewell = "It was paused when it was deleted: nothing outside of Kubernetes was touched."
            plan = Plan(verdict=refused("Retained", farewell), farewell=farewell)
            await self._tell(kind, resource, body, plan)
            return GONE
        await self._write(kind, resource, paused_status_of(resource, datetime.now(UTC)))
        return Outcome(word="paused")

    async def _give_way(
        self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any], owner: ObjectKey
    ) -> Outcome:
        or_agree = "" if kind.shares(resource) is None else ", or let both say the same of it"
        message = f"{owner} is older and manages the same; delete one of the two{or_agree}."
        # Without its finalizer: what it doesn't own it must not delete.
        plan = Plan(verdict=refused(RESOURCE_CONFLICT, message, drifted=None))
        await self._tell(kind, resource, body, plan)
        return Outcome(word=_word_of(plan.verdict), drifted=None)

    async def _refuse_unreadable(self, kind: Kind[Any, Any], body: Mapping[str, Any], error: RefusedError) -> Outcome:
        """Say what is wrong with a spec; a resource that is being deleted is let go, since nobody knows its wishes."""
        resource = parse_resource(kind.name, body, dict[str, Any])
        keep = resource.has_finalizer and not resource.deleting
        # What was noted before, such as a topic's id, is needed once the spec can be read again.
        verdict = refused(error.reason, error.message, status=_own(resource), drifted=None)
        await self._tell(kind, resource, body, Plan(verdict=verdict, keep_finalizer=keep))
        return Outcome(word="refused", drifted=None)


class _Done(NamedTuple):
    """What a visit came to: the resource as it was read last, and the plan that holds for it."""

    resource: Resource[Any]
    body: Mapping[str, Any]
    plan: Plan
    changed: bool = False
    """Whether anything outside was."""


class _GoneError(Exception):
    """The resource was deleted meanwhile."""


class _OwnedByOtherError(Exception):
    """What the resource claims is another one's, as came out meanwhile."""

    def __init__(self, resource: Resource[Any], body: Mapping[str, Any], owner: ObjectKey) -> None:
        """Take the resource as it was read last, and whose it is."""
        super().__init__(str(owner))
        self.resource, self.body, self.owner = resource, body, owner


def _verdict_on(error: Exception, resource: Resource[Any]) -> Verdict:
    """Say what went wrong; what was found before stays."""
    name, kept = str(resource.key), _own(resource)
    match error:
        case RefusedError():
            logger.info("refused", resource=name, reason=error.reason, problem=error.message)
            return refused(error.reason, error.message, status=kept)
        case UnavailableError():
            logger.info("unavailable", resource=name, reason=error.reason, problem=error.message)
            return unknown(error.reason, error.message, status=kept, check_again_seconds=error.retry_after_seconds)
        case _:
            logger.error("reconcile_failed", resource=name, exc_info=error)
            message = f"The operator failed on it ({type(error).__name__}); its log says more."
            return unknown("InternalError", message, status=kept)


def _own(resource: Resource[Any]) -> dict[str, Any]:
    """Keep what was found before: it may be old, but it isn't wrong."""
    framework = {"conditions", "observedGeneration", "lastHandledForce"}
    return {name: value for name, value in resource.status.items() if name not in framework}


def _was_ready(resource: Resource[Any]) -> bool:
    conditions = resource.status.get("conditions") or ()
    ready = any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)
    return ready and resource.status.get("observedGeneration") == resource.generation


def _word_of(verdict: Verdict) -> str:
    if verdict.reason == RESOURCE_CONFLICT:
        return CONFLICT
    if verdict.stalled:
        return "refused"
    return "in_sync" if verdict.ready and verdict.synced else "waiting"
