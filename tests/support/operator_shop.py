"""What tests of the operator do to a real API server, a real Kafka and a real registry."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.fake_kubernetes import conditions_of
from tests.support.waiting import PATIENCE_SECONDS, eventually, wait_until

KAFKA_SECONDS_MAX = 30.0


class OperatorNamespace:
    """A namespace whose resources operators serve."""

    def __init__(self, namespace: KubernetesNamespace) -> None:
        """Take what is there."""
        self.namespace = namespace

    def manifest(
        self, kind: str, name: str, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Write a resource."""
        metadata = {"name": name, "namespace": self.namespace.name, "annotations": dict(annotations or {})}
        return {"apiVersion": "tradeflow.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}

    def apply(self, kind: str, name: str, annotations: Mapping[str, str] | None = None, /, **spec: Any) -> None:
        """Make a resource, or change it to this."""
        self.namespace.apply(self.manifest(kind, name, spec, annotations))

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        """Change fields of a resource's spec."""
        self.namespace.kubectl("patch", kind.lower(), name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Read a resource's status."""
        status: dict[str, Any] = self.namespace.get(kind, name).get("status", {})
        return status

    def condition(self, kind: str, name: str, of_type: str = "Ready") -> tuple[str, str]:
        """Read a condition's status and reason."""
        condition = conditions_of(self.namespace.get(kind, name)).get(of_type, {})
        return condition.get("status", ""), condition.get("reason", "")

    def says(self, kind: str, name: str, status: str, reason: str | None = None, *, of_type: str = "Ready") -> bool:
        """Tell whether a condition says so of the newest generation, for this reason or for any."""
        body = self.namespace.get(kind, name)
        condition = conditions_of(body).get(of_type, {})
        said = (condition.get("status"), condition.get("observedGeneration"))
        return said == (status, body["metadata"]["generation"]) and reason in {None, condition.get("reason")}

    async def until_says(self, kind: str, name: str, status: str, reason: str | None = None) -> None:
        """Wait as `wait_for`, while what runs in this process goes on."""
        await eventually(lambda: self.says(kind, name, status, reason), seconds_max=PATIENCE_SECONDS)

    def wait_for(
        self,
        kind: str,
        name: str,
        status: str,
        reason: str | None = None,
        *,
        of_type: str = "Ready",
        seconds_max: float = PATIENCE_SECONDS,
    ) -> None:
        """Wait until a condition says so of the newest generation."""
        try:
            wait_until(
                lambda: self.says(kind, name, status, reason, of_type=of_type),
                f"{kind} {name} isn't {of_type}={status}/{reason or 'any reason'}",
                seconds_max=seconds_max,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.condition(kind, name, of_type)}") from error

    def wait_until_gone(self, kind: str, name: str, *, seconds_max: float = PATIENCE_SECONDS) -> None:
        """Wait until a resource is gone."""

        def is_gone() -> bool:
            return all(body["metadata"]["name"] != name for body in self.namespace.all_of(kind))

        wait_until(is_gone, f"{kind} {name} is still there", seconds_max=seconds_max)

    def annotate(self, kind: str, name: str, **annotations: str) -> None:
        """Annotate a resource: underscores in names become hyphens, after the group."""
        words = [f"tradeflow.dev/{key.replace('_', '-')}={value}" for key, value in annotations.items()]
        self.namespace.kubectl("annotate", kind.lower(), name, "--overwrite", *words)


class OperatorShop(OperatorNamespace):
    """A namespace with a KafkaConnection `kafka`."""

    def __init__(self, namespace: KubernetesNamespace, servers: Sequence[str], registry_url: str) -> None:
        """Take what is there."""
        super().__init__(namespace)
        self.servers = list(servers)
        self.registry_url = registry_url
        self.admin = AdminClient({"bootstrap.servers": ",".join(servers), "log_level": 0})
        self._prefix = namespace.name

    def connect(self, **spec: Any) -> None:
        """Apply the connection."""
        spec = {"bootstrapServers": self.servers, "registryURL": self.registry_url, **spec}
        self.apply("KafkaConnection", "kafka", **spec)

    def topic_name(self, name: str = "orders") -> str:
        """Name the topic of a resource: nobody else's on a cluster that tests share."""
        return f"{self._prefix}.{name}"

    def topic(self, name: str = "orders", *, annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        """Apply an EventTopic."""
        spec = {"connectionRef": {"name": "kafka"}, "topicName": self.topic_name(name), "partitions": 3, **spec}
        self.apply("EventTopic", name, annotations, **spec)

    def schema(self, text: str, name: str = "orders", **spec: Any) -> None:
        """Apply an EventSchema."""
        base = {"connectionRef": {"name": "kafka"}, "subject": self.topic_name(name), "type": "PROTOBUF"}
        self.apply("EventSchema", name, **{**base, "schema": text, **spec})

    def partitions(self, name: str = "orders") -> int:
        """Count a topic's partitions; 0 when there is no such topic."""
        topics = self.admin.list_topics(timeout=KAFKA_SECONDS_MAX).topics
        found = topics.get(self.topic_name(name))
        return len(found.partitions) if found is not None else 0

    def topic_id(self, name: str = "orders") -> str | None:
        """Tell a topic's id, which no other has that is made under its name; None when there is no such topic."""
        topic = self.topic_name(name)
        (future,) = self.admin.describe_topics(TopicCollection([topic]), request_timeout=KAFKA_SECONDS_MAX).values()
        try:
            return str(future.result(KAFKA_SECONDS_MAX).topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise

    def config(self, name: str = "orders") -> dict[str, str]:
        """Read a topic's settings, the broker's defaults included."""
        resource = ConfigResource(ResourceType.TOPIC, self.topic_name(name))
        (future,) = self.admin.describe_configs([resource]).values()
        return {name: entry.value for name, entry in future.result(KAFKA_SECONDS_MAX).items()}

    def make_topic(self, name: str = "orders", *, partitions: int = 3, **config: str) -> None:
        """Create a topic as somebody else would."""
        wish = NewTopic(self.topic_name(name), partitions, 1, config=config)
        for future in self.admin.create_topics([wish]).values():
            future.result(KAFKA_SECONDS_MAX)
        wait_until(lambda: self.partitions(name) == partitions, "the topic isn't seen")

    def delete_topic(self, name: str = "orders") -> None:
        """Delete a topic as somebody else would."""
        for future in self.admin.delete_topics([self.topic_name(name)]).values():
            future.result(KAFKA_SECONDS_MAX)
        wait_until(lambda: self.partitions(name) == 0, "the topic is still seen")

    def add_partitions(self, name: str, partitions: int) -> None:
        """Grow a topic as somebody else would."""
        for future in self.admin.create_partitions([NewPartitions(self.topic_name(name), partitions)]).values():
            future.result(KAFKA_SECONDS_MAX)

    def produce(self, name: str = "orders") -> None:
        """Write a record."""
        producer = Producer({"bootstrap.servers": ",".join(self.servers), "log_level": 0})
        producer.produce(self.topic_name(name), b"a record")
        assert producer.flush(KAFKA_SECONDS_MAX) == 0

    def versions(self, name: str = "orders") -> list[int]:
        """List the versions of a subject."""
        answer = httpx.get(
            f"{self.registry_url}/subjects/{self.topic_name(name)}/versions", timeout=30, trust_env=False
        )
        return list(answer.json()) if answer.is_success else []

    def level(self, name: str = "orders") -> str | None:
        """Read a subject's own level."""
        answer = httpx.get(f"{self.registry_url}/config/{self.topic_name(name)}", timeout=30, trust_env=False)
        return answer.json().get("compatibilityLevel") if answer.is_success else None

    def set_level(self, level: str, name: str = "orders") -> None:
        """Set a subject's own level as somebody else would."""
        url = f"{self.registry_url}/config/{self.topic_name(name)}"
        httpx.put(url, json={"compatibility": level}, timeout=30, trust_env=False).raise_for_status()

    def register(self, text: str, name: str = "orders") -> None:
        """Register a schema as somebody else would."""
        url = f"{self.registry_url}/subjects/{self.topic_name(name)}/versions"
        wish = {"schemaType": "PROTOBUF", "schema": text}
        httpx.post(url, json=wish, timeout=30, trust_env=False).raise_for_status()

    def delete_subject(self, name: str = "orders") -> None:
        """Soft-delete a subject as somebody else would."""
        url = f"{self.registry_url}/subjects/{self.topic_name(name)}"
        httpx.delete(url, timeout=30, trust_env=False).raise_for_status()
