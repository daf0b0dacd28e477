"""Kafka's admin API in memory, as far as the operator asks it; tests/contract holds it and a real one to the same."""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kafka import KafkaAdmin
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.reconcile.event_access import Right
from tradeflow_operator.reconcile.event_topic import TopicSight

BROKER_CONFIG = {"retention.ms": "604800000", "cleanup.policy": "delete"}
"""What a topic has where nobody set it."""

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""What Kafka takes as a topic's name."""


@dataclass
class FakeTopic:
    """A topic of it."""

    id: str
    partitions: int
    replicas: int
    config: dict[str, str] = field(default_factory=dict)
    records: int = 0
    groups: tuple[str, ...] = ()


class FakeCluster:
    """What all its clients see."""

    def __init__(self, cluster_id: str = "fake-cluster") -> None:
        self.id = cluster_id
        self.topics: dict[str, FakeTopic] = {}
        self.users: dict[str, str] = {}
        self.rights: dict[str, set[Right]] = {}
        self.makes_no_users = False
        self.is_away = False
        self.writes: list[str] = []
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        return f"topic-{next(self._numbers)}"


class FakeKafkaAdmin(KafkaAdmin):
    """A client of it, with the real one's fence; `point` is called before and after each effect."""

    def __init__(
        self, cluster: FakeCluster, fence: Fence | None = None, point: Callable[[str], None] = lambda _: None
    ) -> None:
        self.cluster_of_test = cluster
        self._fence = fence or open_fence()
        self._point = point

    async def cluster(self) -> tuple[str, int]:
        self._look()
        return self.cluster_of_test.id, 1

    async def topic(self, name: str) -> TopicSight | None:
        self._look()
        topic = self.cluster_of_test.topics.get(name)
        if topic is None:
            return None
        return TopicSight(
            id=topic.id,
            partitions=topic.partitions,
            replicas=topic.replicas,
            config=BROKER_CONFIG | topic.config,
            internal=name.startswith("__"),
        )

    async def records(self, name: str, partitions: int) -> int:
        del partitions
        self._look()
        return self._there(name).records

    async def active_groups(self, name: str) -> tuple[str, ...]:
        self._look()
        topic = self.cluster_of_test.topics.get(name)
        return topic.groups if topic is not None else ()

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replicas: int | None,
        config: Mapping[str, str],
        must_be_new: bool = False,
    ) -> None:
        def create() -> None:
            if replicas is not None and replicas > 1:
                raise RefusedError("Kafka refuses: it has one broker", reason="KafkaRefused")
            if not _NAME.fullmatch(name):
                raise RefusedError("Kafka refuses: it is no name", reason="KafkaRefused")
            _check_config(config)
            topics = self.cluster_of_test.topics
            if must_be_new and name in topics:
                raise RefusedError("Kafka refuses: it is there", reason="KafkaRefused")
            topics.setdefault(name, FakeTopic(self.cluster_of_test.new_id(), partitions, replicas or 1, dict(config)))

        self._write(f"create {name}", create)

    async def add_partitions(self, name: str, *, partitions: int) -> None:
        def grow() -> None:
            topic = self._there(name)
            if partitions <= topic.partitions:
                raise RefusedError("Kafka refuses: it has as many", reason="KafkaRefused")
            topic.partitions = partitions

        self._write(f"grow {name} to {partitions}", grow)

    async def set_config(self, name: str, config: Mapping[str, str]) -> None:
        def configure() -> None:
            topic = self._there(name)
            _check_config(config)
            topic.config.update(config)

        self._write(f"configure {name}", configure)

    async def delete_topic(self, name: str) -> None:
        self._write(f"delete {name}", lambda: self.cluster_of_test.topics.pop(name, None))

    def _there(self, name: str) -> FakeTopic:
        topic = self.cluster_of_test.topics.get(name)
        if topic is None:
            raise UnavailableError("Kafka can't do it now: unknown topic", reason="KafkaUnreachable")
        return topic

    def _look(self) -> None:
        if self.cluster_of_test.is_away:
            raise UnavailableError("Kafka can't answer now", reason="KafkaUnreachable")

    def _write(self, what: str, effect: Callable[[], object]) -> None:
        self._look()
        self._fence.write_seconds(1.0)
        self._point(f"before {what}")
        effect()
        self.cluster_of_test.writes.append(what)
        self._point(f"after {what}")


def _check_config(config: Mapping[str, str]) -> None:
    if not config.get("retention.ms", "0").removeprefix("-").isdigit():
        raise RefusedError("Kafka refuses: retention.ms is a number", reason="KafkaRefused")
