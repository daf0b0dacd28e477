"""EventAccess: a SCRAM user for one service, what it may do, and the Secret that its password is in. Pure.

The password is made once, into the Secret, before Kafka hears of it; Kafka is told again whenever the Secret isn't the
one that it was last told of. So no crash leaves a user whose password nobody knows.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from tradeflow_operator.reconcile.connection import ConnectionRef
from tradeflow_operator.reconcile.plan import NoteInStatus, Plan, Step, Verdict, in_sync, refused, waiting
from tradeflow_operator.resources import Resource

KIND = "EventAccess"

_TOLD = ("principal", "secretName", "secretVersion", "clusterID")
"""The fields of the status that tell of a user that is there, and where."""

_REFUSED = "userRefused"
"""Noted where Kafka refused to make the user, and so has none of ours."""

Operation = Literal["Read", "Write", "Describe", "Create", "Delete", "Alter", "DescribeConfigs", "AlterConfigs"]


class Grant(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a user may do to topics or groups of one name, or of names that begin so."""

    name: str
    prefix: bool = False
    operations: list[Operation]


class EventAccessSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person writes; the CRD says what each field means."""

    connection_ref: ConnectionRef
    principal: str
    secret_name: str
    topic_prefix: str = ""
    topics: list[Grant] = []
    groups: list[Grant] = []
    adoption_policy: Literal["Never", "Adopt"] = "Never"
    deletion_policy: Literal["Retain", "Delete"] = "Retain"


class Right(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One line of Kafka's access control."""

    on: Literal["topic", "group"]
    name: str
    prefix: bool
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} of the {self.on} {self.name}{'*' if self.prefix else ''}"


class SecretSight(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret as it is, without what it holds."""

    version: str
    """Its uid and resource version."""
    is_ours: bool
    complete: bool
    """Whether it has a password."""
    leads_there: bool = True
    """Whether its other entries are those of the user and the connection as they are now."""


class EventAccessSight(msgspec.Struct, frozen=True, kw_only=True):
    """What is there."""

    secret: SecretSight | None = None
    user_exists: bool = False
    rights: tuple[Right, ...] = ()
    cluster_id: str = ""
    """Of the Kafka that was asked; empty where none was."""


class WriteSecret(Step, frozen=True, kw_only=True):
    """Make a password and write the Secret, unless it has one."""

    secret: str
    principal: str

    def sentence(self) -> str:
        """Say it."""
        return f"write the Secret {self.secret} with a new password of {self.principal}"


class WriteAddress(Step, frozen=True, kw_only=True):
    """Write again how the user comes to Kafka, with the password that the Secret has."""

    secret: str

    def sentence(self) -> str:
        """Say it."""
        return f"write into the Secret {self.secret} where Kafka is by now"


class SetPassword(Step, frozen=True, kw_only=True):
    """Let Kafka know the password that the Secret has."""

    principal: str
    secret: str
    is_first: bool = False
    """Whether it makes the user, of which Kafka was never told before."""

    def sentence(self) -> str:
        """Say it."""
        return f"give the user {self.principal} the password of the Secret {self.secret}"

    def noted_when_refused(self) -> Mapping[str, Any]:
        """Say that no user was made, though the Secret is there: one of this name is somebody else's one day."""
        return {_REFUSED: True} if self.is_first else {}


class GrantRights(Step, frozen=True, kw_only=True):
    """Allow more."""

    principal: str
    rights: tuple[Right, ...]

    def sentence(self) -> str:
        """Say it."""
        return f"allow {self.principal} {', '.join(map(str, self.rights))}"


class TakeRights(Step, frozen=True, kw_only=True):
    """Allow less."""

    principal: str
    rights: tuple[Right, ...]

    def sentence(self) -> str:
        """Say it."""
        return f"no longer allow {self.principal} {', '.join(map(str, self.rights))}"


class DeleteUser(Step, frozen=True, kw_only=True):
    """Delete the user, so that nobody signs in as it any more."""

    principal: str

    def sentence(self) -> str:
        """Say it."""
        return f"delete the user {self.principal}"


def wanted_rights(spec: EventAccessSpec) -> tuple[Right, ...]:
    """Write the grants out, one operation each."""
    rights = {*_written_out("topic", spec.topics), *_written_out("group", spec.groups)}
    return tuple(sorted(rights))


def _written_out(on: Literal["topic", "group"], grants: Sequence[Grant]) -> Iterator[Right]:
    for grant in grants:
        for operation in grant.operations:
            yield Right(on=on, name=grant.name, prefix=grant.prefix, operation=operation)


def plan_access(resource: Resource[EventAccessSpec], observed: EventAccessSight, now: datetime) -> Plan:
    """Decide what to do."""
    del now
    if resource.deleting:
        return _plan_deletion(resource, observed)
    plan = _refusal(resource, observed) or Plan(verdict=_in_sync(resource, observed), steps=_steps(resource, observed))
    keep = resource.spec.deletion_policy == "Delete" and (plan.verdict.synced or _was_told(resource))
    return msgspec.structs.replace(plan, keep_finalizer=keep)


def _was_told(resource: Resource[EventAccessSpec]) -> bool:
    """Tell whether a Kafka was ever told of this resource's user."""
    return resource.status.get("secretVersion") is not None


def _is_elsewhere(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> bool:
    """Tell whether that was another Kafka than the one that the connection leads to by now."""
    noted = resource.status.get("clusterID")
    return _was_told(resource) and bool(noted and observed.cluster_id) and noted != observed.cluster_id


def _is_ours(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> bool:
    """Tell whether this Kafka was told of this resource's user."""
    return _was_told(resource) and not _is_elsewhere(resource, observed)


def _refusal(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> Plan | None:
    """Leave alone what others made; a user that is ours stays so while somebody else's Secret is in its place."""
    spec, secret = resource.spec, observed.secret
    told = {name: resource.status[name] for name in _TOLD if name in resource.status} if _was_told(resource) else {}
    if secret is not None and not secret.is_ours:
        message = (
            f"The Secret {spec.secret_name} is there and isn't this resource's; delete it, or make a resource with "
            "another secretName."
        )
        return Plan(verdict=refused("SecretNotOurs", message, status=told))
    was_refused = resource.status.get(_REFUSED)
    is_elsewhere = _is_elsewhere(resource, observed)
    is_new = is_elsewhere or ((secret is None or was_refused) and not _was_told(resource))
    if is_new and (observed.user_exists or observed.rights) and spec.adoption_policy != "Adopt":
        # Who signs in by a certificate has no SCRAM password, and may have rights all the same.
        what = "a user" if observed.user_exists else "rights of a user"
        kafka = f"The Kafka {observed.cluster_id}, to which the connection leads by now," if is_elsewhere else "Kafka"
        message = (
            f"{kafka} has {what} {spec.principal} already, that this resource didn't make; choose another name, or set "
            "adoptionPolicy: Adopt to give it a new password and these rights alone."
        )
        kept = {**told, _REFUSED: True} if was_refused else told
        return Plan(verdict=refused("AdoptionRefused", message, status=kept))
    return None


def _steps(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> tuple[Step, ...]:
    spec, secret = resource.spec, observed.secret
    if secret is None or not secret.complete:
        return (WriteSecret(secret=spec.secret_name, principal=spec.principal),)
    if not secret.leads_there:
        return (WriteAddress(secret=spec.secret_name),)
    steps = list[Step]()
    is_elsewhere = _is_elsewhere(resource, observed)
    if not observed.user_exists or is_elsewhere or resource.status.get("secretVersion") != secret.version:
        where = {"clusterID": observed.cluster_id} if observed.cluster_id else {}
        before: dict[str, Any] = {"secretVersion": None, **where} if is_elsewhere else {}
        if resource.status.get(_REFUSED):
            before[_REFUSED] = None
        if before:
            # Else a crash right after it would make the user look like a stranger's.
            steps.append(NoteInStatus(fields=before))
        # Noted at once: Kafka can't say which password a user has, so nothing else tells that it was told.
        is_first = not observed.user_exists and not _is_ours(resource, observed)
        steps.append(SetPassword(principal=spec.principal, secret=spec.secret_name, is_first=is_first))
        steps.append(NoteInStatus(fields={"secretVersion": secret.version, **where}))
    wanted, there = set(wanted_rights(spec)), set(observed.rights)
    # First more, then less: what the old rights and the new ones allow alike is allowed all the time.
    if wanted - there:
        steps.append(GrantRights(principal=spec.principal, rights=tuple(sorted(wanted - there))))
    if there - wanted:
        steps.append(TakeRights(principal=spec.principal, rights=tuple(sorted(there - wanted))))
    return tuple(steps)


def _plan_deletion(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> Plan:
    principal, secret = resource.spec.principal, observed.secret
    if resource.spec.deletion_policy == "Delete" and _is_elsewhere(resource, observed):
        why = (
            f"it was made in the Kafka {resource.status['clusterID']}, and the connection leads to another one by now."
        )
        return Plan(verdict=refused("Retained", why), farewell=f"The user {principal} stays: {why}")
    # A crash may have come between the password and its note; a Secret of ours is made for a user of ours alone.
    may_be_told = secret is not None and secret.is_ours and not resource.status.get(_REFUSED)
    ours = _was_told(resource) or may_be_told
    steps = list[Step]()
    if resource.spec.deletion_policy == "Delete" and ours:
        if observed.user_exists:
            steps.append(DeleteUser(principal=principal))
        if observed.rights:
            steps.append(TakeRights(principal=principal, rights=observed.rights))
    verdict = waiting("Deleting", f"The user {principal} is being deleted.", status=dict(resource.status))
    return Plan(verdict=verdict, steps=tuple(steps), keep_finalizer=bool(steps))


def _in_sync(resource: Resource[EventAccessSpec], observed: EventAccessSight) -> Verdict:
    spec = resource.spec
    message = f"The user {spec.principal} can sign in with the Secret {spec.secret_name}."
    version = observed.secret.version if observed.secret else None
    status = {"principal": spec.principal, "secretName": spec.secret_name, "secretVersion": version}
    cluster_id = observed.cluster_id or resource.status.get("clusterID")
    return in_sync(message, status={**status, "clusterID": cluster_id} if cluster_id else status)
