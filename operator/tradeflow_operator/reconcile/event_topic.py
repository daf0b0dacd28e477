"""EventTopic: what to do with a topic. Pure. Where it is in doubt, the records stay."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from tradeflow_operator import GROUP
from tradeflow_operator.reconcile.connection import ConnectionRef
from tradeflow_operator.reconcile.plan import NoteInStatus, Plan, Step, Verdict, in_sync, refused, waiting
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource

KIND = "EventTopic"

GROW_ANNOTATION = f"{GROUP}/allow-key-movement"
"""Its value is the number of partitions that a keyed topic may grow to."""

LOOK_AGAIN_SECONDS = 30.0
"""How soon a refused deletion is considered again."""


class EventTopicSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person writes; the CRD says what each field means."""

    connection_ref: ConnectionRef
    partitions: int
    topic_name: str | None = None
    replicas: int | None = None
    keyed: bool = True
    config: dict[str, str | None] = {}
    adoption_policy: Literal["Never", "IfIdentical", "Adopt"] = "IfIdentical"
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    allow_data_loss: str | None = None


class TopicSight(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is."""

    id: str
    partitions: int
    replicas: int
    config: Mapping[str, str] = {}
    """Effective values, the broker's defaults included."""
    internal: bool = False


class UseSight(msgspec.Struct, frozen=True, kw_only=True):
    """Who would miss the topic; only looked at before a deletion."""

    records: int = 0
    active_groups: tuple[str, ...] = ()
    namespace_terminating: bool = False


class EventTopicSight(msgspec.Struct, frozen=True, kw_only=True):
    """What is there."""

    topic: TopicSight | None
    use: UseSight | None = None


class CreateTopic(Step, frozen=True, kw_only=True):
    """Create the topic; one that is there by now is left as it is."""

    topic: str
    partitions: int
    replicas: int | None
    config: Mapping[str, str]
    must_be_new: bool = False
    """Whether one that is there by now is somebody else's for sure: none of ours was ever begun."""

    def sentence(self) -> str:
        """Say it."""
        copies = f", {self.replicas} replica(s)" if self.replicas else ""
        settings = f", {_listed(self.config)}" if self.config else ""
        return f"create the topic {self.topic} with {self.partitions} partition(s){copies}{settings}"

    def noted_when_refused(self) -> Mapping[str, Any]:
        """Say that nothing was made: a topic of this name that is there one day is somebody else's."""
        return {"creating": None}


class AddPartitions(Step, frozen=True, kw_only=True):
    """Let the topic have more partitions."""

    topic: str
    before: int
    after: int

    def sentence(self) -> str:
        """Say it."""
        return f"grow the topic {self.topic} from {self.before} to {self.after} partitions"


class SetConfig(Step, frozen=True, kw_only=True):
    """Set the settings that are named, and no others."""

    topic: str
    config: Mapping[str, str]
    before: Mapping[str, str | None]

    def sentence(self) -> str:
        """Say it."""
        changes = (f"{name} from {self.before.get(name)} to {value}" for name, value in sorted(self.config.items()))
        return f"set of the topic {self.topic} {', '.join(changes)}"


class DeleteTopic(Step, frozen=True, kw_only=True):
    """Delete the topic and its records."""

    topic: str
    id: str

    def sentence(self) -> str:
        """Say it."""
        return f"delete the topic {self.topic}"


def topic_name_of(resource: Resource[EventTopicSpec]) -> str:
    """Name the topic."""
    return resource.spec.topic_name or resource.name


def plan_topic(resource: Resource[EventTopicSpec], observed: EventTopicSight, now: datetime) -> Plan:
    """Decide what to do."""
    del now
    if resource.deleting:
        return _plan_deletion(resource, observed)
    keep = resource.spec.deletion_policy == "Delete"
    topic = observed.topic
    if keep and resource.spec.allow_data_loss != topic_name_of(resource):
        message = f"deletionPolicy: Delete needs allowDataLoss: {topic_name_of(resource)}, too."
        # Nothing was taken: only what was recorded before stays.
        return Plan(verdict=refused("DataLossNotAllowed", message, status=_seen(resource, None)))
    plan = _plan_creation(resource) if topic is None else _plan_topic_that_is_there(resource, topic)
    return msgspec.structs.replace(plan, keep_finalizer=keep)


def _plan_creation(resource: Resource[EventTopicSpec]) -> Plan:
    name, spec, recorded = topic_name_of(resource), resource.spec, resource.status.get("topicID")
    if recorded and not resource.force_requested:
        message = (
            f"The topic {name} was deleted in Kafka by somebody else, with its records. To make it anew, give the"
            f" annotation {FORCE_ANNOTATION} a new value."
        )
        return Plan(verdict=refused("ExternalDeleted", message, drifted=True, status=_seen(resource, None)))
    create = CreateTopic(topic=name, partitions=spec.partitions, replicas=spec.replicas, config=_wanted_config(spec))
    begun = msgspec.structs.replace(create, must_be_new=True)
    steps: tuple[Step, ...] = (create,)
    if spec.adoption_policy == "Never" and not resource.status.get("creating"):
        # Else a crash between the creation and its record would leave a topic that may never be taken.
        steps = (NoteInStatus(fields={"creating": True}), begun)
    elif recorded:
        # The old id must not make the new topic look like a stranger's.
        steps = (NoteInStatus(fields={"topicID": None, "creating": True}), begun)
    return Plan(verdict=waiting("Creating", f"The topic {name} is being created.", ready=None), steps=steps)


def _plan_topic_that_is_there(resource: Resource[EventTopicSpec], topic: TopicSight) -> Plan:
    name, spec, recorded = topic_name_of(resource), resource.spec, resource.status.get("topicID")
    if topic.internal:
        return Plan(verdict=refused("InternalTopic", f"{name} is Kafka's own; choose another name."))
    if recorded not in {None, topic.id} and not resource.force_requested:
        message = (
            f"The topic {name} was replaced: its id was {recorded} and is {topic.id}. To take the new one, give the"
            f" annotation {FORCE_ANNOTATION} a new value."
        )
        status = {"topicName": name, "topicID": recorded, "partitions": topic.partitions, "replicas": topic.replicas}
        return Plan(verdict=refused("ExternalReplaced", message, drifted=True, status=status))
    steps = _mending_steps(resource, topic)
    obstacle = _obstacle(resource, topic)
    differences = [*(step.sentence() for step in steps), *([obstacle.message] if obstacle else [])]
    is_ours = recorded == topic.id or bool(resource.status.get("creating"))
    if not is_ours and (spec.adoption_policy == "Never" or (spec.adoption_policy == "IfIdentical" and differences)):
        return Plan(verdict=_adoption_refused(resource, topic, differences))
    # What can be done is done, also where something else is refused.
    verdict = obstacle or in_sync(f"The topic {name} is as it should be.", status=_seen(resource, topic))
    return Plan(verdict=verdict, steps=steps)


def _adoption_refused(resource: Resource[EventTopicSpec], topic: TopicSight, differences: list[str]) -> Verdict:
    name, policy = topic_name_of(resource), resource.spec.adoption_policy
    why = "adoptionPolicy is Never" if policy == "Never" else "it isn't as this resource asks"
    message = f"The topic {name} was there already, and {why}. adoptionPolicy: Adopt would take it."
    status = {
        "topicName": name,
        "partitions": topic.partitions,
        "replicas": topic.replicas,
        "plannedChanges": differences or None,
    }
    return refused("AdoptionRefused", message, drifted=bool(differences), status=status)


def _mending_steps(resource: Resource[EventTopicSpec], topic: TopicSight) -> tuple[Step, ...]:
    name, spec, steps = topic_name_of(resource), resource.spec, list[Step]()
    if topic.partitions < spec.partitions and _may_grow(resource):
        steps.append(AddPartitions(topic=name, before=topic.partitions, after=spec.partitions))
    wanted = _wanted_config(spec)
    changes = {setting: value for setting, value in wanted.items() if not _is_so(topic.config.get(setting), value)}
    if changes:
        steps.append(SetConfig(topic=name, config=changes, before={key: topic.config.get(key) for key in changes}))
    return tuple(steps)


def _obstacle(resource: Resource[EventTopicSpec], topic: TopicSight) -> Verdict | None:
    """Say what a person has to decide, if anything; in this order, the first only."""
    name, spec = topic_name_of(resource), resource.spec
    more: dict[str, Any] = {"drifted": _is_settled(resource), "status": _seen(resource, topic)}
    if topic.partitions > spec.partitions:
        message = (
            f"Kafka can't take partitions away: the topic {name} has {topic.partitions}, spec.partitions is"
            f" {spec.partitions}. Raise spec.partitions to {topic.partitions}."
        )
        return refused("PartitionShrinkRefused", message, **more)
    if topic.partitions < spec.partitions and not _may_grow(resource):
        message = (
            f"With {spec.partitions} partitions instead of {topic.partitions}, keys move, and records of one key lose"
            f' their order. To allow it, annotate {GROW_ANNOTATION}: "{spec.partitions}", or set spec.keyed: false.'
        )
        return refused("KeyMovementNotAllowed", message, **more)
    if spec.replicas not in {None, topic.replicas}:
        message = (
            f"The topic {name} has {topic.replicas} replica(s), spec.replicas is {spec.replicas}: reassign its"
            " partitions with Kafka's tools, or change spec.replicas."
        )
        return refused("ReplicasDiffer", message, **more)
    return None


def _plan_deletion(resource: Resource[EventTopicSpec], observed: EventTopicSight) -> Plan:
    name, topic, use = topic_name_of(resource), observed.topic, observed.use or UseSight()
    if topic is None:
        return Plan(verdict=waiting("Deleted", f"The topic {name} is gone."))
    unwanted = _why_not_ours_to_delete(resource, topic)
    if unwanted:
        return Plan(verdict=refused("Retained", unwanted), farewell=f"The topic {name} stays: {unwanted}")
    in_use = _why_in_use(name, use)
    if in_use and use.namespace_terminating:
        farewell = f"The topic {name} stays, since its namespace must not hang: {in_use}"
        return Plan(verdict=refused("Retained", in_use), farewell=farewell)
    if in_use:
        verdict = refused(
            "DeletionRefused", in_use, status=_seen(resource, topic), check_again_seconds=LOOK_AGAIN_SECONDS
        )
        return Plan(verdict=verdict, keep_finalizer=True)
    verdict = waiting("Deleting", f"The topic {name} is being deleted.", status=_seen(resource, topic))
    return Plan(verdict=verdict, steps=(DeleteTopic(topic=name, id=topic.id),), keep_finalizer=True)


def _why_not_ours_to_delete(resource: Resource[EventTopicSpec], topic: TopicSight) -> str:
    spec, recorded = resource.spec, resource.status.get("topicID")
    if spec.deletion_policy != "Delete":
        return "deletionPolicy isn't Delete."
    if spec.allow_data_loss != topic_name_of(resource):
        return "allowDataLoss doesn't name it."
    if topic.internal:
        return "it is Kafka's own."
    # Adopt gives it away whoever made it, so a crash between its creation and the record leaves nothing in doubt.
    if recorded is None and not resource.status.get("creating") and spec.adoption_policy != "Adopt":
        return "this resource never managed it."
    if recorded not in {None, topic.id}:
        return "it was replaced by another of the same name."
    return ""


def _why_in_use(name: str, use: UseSight) -> str:
    if use.active_groups:
        return f"Consumer groups read the topic {name}: {', '.join(sorted(use.active_groups)[:5])}. Stop them first."
    if use.records:
        return f"The topic {name} holds records. Delete them first, or let deletionPolicy be Retain."
    return ""


def _may_grow(resource: Resource[EventTopicSpec]) -> bool:
    return not resource.spec.keyed or resource.annotations.get(GROW_ANNOTATION) == str(resource.spec.partitions)


def _is_settled(resource: Resource[EventTopicSpec]) -> bool:
    """Tell whether what differs came from outside: the spec is one that was handled before."""
    return bool(resource.status.get("topicID")) and resource.status.get("observedGeneration") == resource.generation


def _seen(resource: Resource[EventTopicSpec], topic: TopicSight | None) -> dict[str, Any]:
    if topic is None:
        return {"topicName": topic_name_of(resource), "topicID": resource.status.get("topicID")}
    return {
        "topicName": topic_name_of(resource),
        "topicID": topic.id,
        "partitions": topic.partitions,
        "replicas": topic.replicas,
    }


def _wanted_config(spec: EventTopicSpec) -> dict[str, str]:
    return {name: value for name, value in sorted(spec.config.items()) if value is not None}


def _is_so(there: str | None, wanted: str) -> bool:
    """Compare as Kafka does, which tells settings in a form of its own: lists without spaces, numbers, truths."""
    return there is not None and _words_of(there) == _words_of(wanted)


def _words_of(value: str) -> list[str | Decimal]:
    return [_word_of(part.strip()) for part in value.split(",")]


def _word_of(text: str) -> str | Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text.lower() if text.lower() in {"true", "false"} else text


def _listed(config: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items()))
