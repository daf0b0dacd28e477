"""EventTopic's effects: Kafka's admin API."""

from collections.abc import Sequence
from datetime import datetime

from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.event_topic import (
    KIND,
    AddPartitions,
    CreateTopic,
    DeleteTopic,
    EventTopicSight,
    EventTopicSpec,
    SetConfig,
    TopicSight,
    UseSight,
    plan_topic,
    topic_name_of,
)
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource


class EventTopicKind(Kind[EventTopicSpec, EventTopicSight]):
    """Creates, grows, configures and, where that is allowed, deletes topics."""

    name = KIND
    plural = "eventtopics"
    spec_type = EventTopicSpec

    def __init__(self, connections: Connections, kubernetes: KubernetesClient) -> None:
        """Reach Kafka by these; Kubernetes is asked whether a namespace is terminating."""
        self._connections = connections
        self._kubernetes = kubernetes

    async def observe(self, resource: Resource[EventTopicSpec]) -> EventTopicSight:
        """Describe the topic and, before a deletion, who uses it."""
        if resource.deleting and resource.spec.deletion_policy != "Delete":
            return EventTopicSight(topic=None)  # nothing outside will be touched, so nothing there has to be reached
        kafka = await self._connections.kafka(resource.spec.connection_ref, resource.namespace)
        name = topic_name_of(resource)
        topic = await kafka.topic(name)
        if topic is None or not resource.deleting:
            return EventTopicSight(topic=topic)
        use = UseSight(
            records=await kafka.records(name, topic.partitions),
            active_groups=await kafka.active_groups(name),
            namespace_terminating=await self._kubernetes.is_terminating(resource.namespace),
        )
        return EventTopicSight(topic=topic, use=use)

    def plan(self, resource: Resource[EventTopicSpec], observed: EventTopicSight, now: datetime) -> Plan:
        """Decide."""
        return plan_topic(resource, observed, now)

    async def apply(self, resource: Resource[EventTopicSpec], step: Step) -> None:
        """Take one step."""
        kafka = await self._connections.kafka(resource.spec.connection_ref, resource.namespace)
        match step:
            case CreateTopic(topic=topic, partitions=partitions, replicas=replicas, config=config, must_be_new=new):
                await kafka.create_topic(
                    topic, partitions=partitions, replicas=replicas, config=config, must_be_new=new
                )
            case AddPartitions(topic=topic, after=after):
                await kafka.add_partitions(topic, partitions=after)
            case SetConfig(topic=topic, config=config):
                await kafka.set_config(topic, config)
            case DeleteTopic(topic=topic, id=topic_id):
                there: TopicSight | None = await kafka.topic(topic)
                if there is not None and there.id == topic_id:
                    await kafka.delete_topic(topic)
            case _:
                raise AssertionError(f"{resource.key} has no step {step}")

    def claim(self, resource: Resource[EventTopicSpec]) -> str | None:
        """Own the topic of the cluster."""
        return self._connections.claim(resource.spec.connection_ref, resource.namespace, topic_name_of(resource))

    def references(self, resource: Resource[EventTopicSpec]) -> Sequence[ObjectKey]:
        """Look again when the connection changes."""
        return (resource.spec.connection_ref.key(resource.namespace),)
