"""What the operator relies on of Kafka's admin API: on the fake that its other tests use, and on a real broker."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.home import free_port
from tests.support.fake_kafka_admin import FakeCluster, FakeKafkaAdmin
from tests.support.waiting import eventually
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.kafka import KafkaAdmin
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.errors import NotLeaderError, RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_access import Right

SECONDS_MAX = 30.0


class Cluster(ABC):
    """A cluster, and what others do on it."""

    @abstractmethod
    def client(self, fence: Fence | None = None) -> KafkaAdmin:
        """Make one of the operator's clients."""

    @abstractmethod
    def client_of_one_that_is_away(self) -> KafkaAdmin:
        """Make one whose broker doesn't answer."""

    @abstractmethod
    def write_records(self, topic: str, count: int) -> None:
        """Write records as a service does."""

    @abstractmethod
    def reading(self, topic: str, group: str) -> "Iterator[None]":
        """Read a topic while the body runs; a group that has begun to read is seen then."""


class FakeOne(Cluster):
    def __init__(self) -> None:
        self._cluster = FakeCluster()

    def client(self, fence: Fence | None = None) -> KafkaAdmin:
        return FakeKafkaAdmin(self._cluster, fence)

    def client_of_one_that_is_away(self) -> KafkaAdmin:
        away = FakeCluster()
        away.is_away = True
        return FakeKafkaAdmin(away)

    def write_records(self, topic: str, count: int) -> None:
        self._cluster.topics[topic].records += count

    def reading(self, topic: str, group: str) -> Iterator[None]:
        self._cluster.topics[topic].groups = (group,)
        yield
        self._cluster.topics[topic].groups = ()


class RealOne(Cluster):
    def __init__(self, url: str) -> None:
        self._config = cluster_of(url).config

    def client(self, fence: Fence | None = None) -> KafkaAdmin:
        return KafkaAdmin(self._config, fence or open_fence(), OperatorMetrics(), batch_size=200)

    def client_of_one_that_is_away(self) -> KafkaAdmin:
        return KafkaAdmin(
            {"bootstrap.servers": f"127.0.0.1:{free_port()}"}, open_fence(), OperatorMetrics(), batch_size=200
        )

    def write_records(self, topic: str, count: int) -> None:
        producer = Producer({**self._config, "log_level": 0})
        for number in range(count):
            producer.produce(topic, str(number).encode())
        assert producer.flush(SECONDS_MAX) == 0

    def reading(self, topic: str, group: str) -> Iterator[None]:
        with closing(Consumer({**self._config, "group.id": group, "log_level": 0})) as consumer:
            joined: list[object] = []
            consumer.subscribe([topic], on_assign=lambda _, places: joined.extend(places))
            while not joined:
                consumer.poll(0.1)
            yield


@pytest.fixture(params=["fake", pytest.param("kafka", marks=pytest.mark.part("kafka"))])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return FakeOne() if request.param == "fake" else RealOne(request.getfixturevalue("kafka_url"))


@pytest.fixture
def kafka(cluster: Cluster) -> KafkaAdmin:
    return cluster.client()


@pytest.fixture
def topic() -> str:
    """Name a topic that nobody else uses."""
    return f"{uuid4().hex[:12]}.orders"


async def made(kafka: KafkaAdmin, topic: str, *, partitions: int = 3, config: Mapping[str, str] | None = None) -> str:
    """Create a topic; return its id."""
    await kafka.create_topic(topic, partitions=partitions, replicas=None, config=config or {})
    sight = await kafka.topic(topic)
    assert sight is not None
    return sight.id


async def test_a_cluster_has_one_name_for_all_its_clients(cluster: Cluster, kafka: KafkaAdmin) -> None:
    cluster_id, brokers = await kafka.cluster()

    assert cluster_id
    assert brokers == 1
    assert await cluster.client().cluster() == (cluster_id, brokers)


async def test_an_unknown_topic_is_no_error(kafka: KafkaAdmin, topic: str) -> None:
    assert await kafka.topic(topic) is None


async def test_a_new_topic_is_seen_at_once_as_it_was_asked_for(kafka: KafkaAdmin, topic: str) -> None:
    await kafka.create_topic(topic, partitions=3, replicas=None, config={"retention.ms": "1234"})

    sight = await kafka.topic(topic)

    assert sight is not None
    assert sight.id
    assert (sight.partitions, sight.replicas, sight.internal) == (3, 1, False)
    # The broker's defaults belong to it.
    assert (sight.config["retention.ms"], sight.config["cleanup.policy"]) == ("1234", "delete")


async def test_creating_a_topic_again_leaves_it_as_it_is(kafka: KafkaAdmin, topic: str) -> None:
    topic_id = await made(kafka, topic, partitions=3)

    await kafka.create_topic(topic, partitions=5, replicas=None, config={"retention.ms": "1234"})

    sight = await kafka.topic(topic)
    assert sight is not None
    assert (sight.id, sight.partitions) == (topic_id, 3)
    assert sight.config["retention.ms"] != "1234"


async def test_creating_a_topic_that_must_be_new_is_refused_where_it_is_there(kafka: KafkaAdmin, topic: str) -> None:
    topic_id = await made(kafka, topic)

    with pytest.raises(RefusedError):
        await kafka.create_topic(topic, partitions=5, replicas=None, config={}, must_be_new=True)

    sight = await kafka.topic(topic)
    assert sight is not None
    assert (sight.id, sight.partitions) == (topic_id, 3)


@pytest.mark.parametrize(
    ("ending", "replicas", "config"),
    [("", 2, {}), ("", None, {"retention.ms": "long"}), (" with spaces", None, {})],
    ids=["replicas", "config", "name"],
)
async def test_what_the_broker_refuses_is_refused_and_not_made(
    kafka: KafkaAdmin, topic: str, ending: str, replicas: int | None, config: dict[str, str]
) -> None:
    with pytest.raises(RefusedError) as refused:
        await kafka.create_topic(f"{topic}{ending}", partitions=1, replicas=replicas, config=config)

    assert refused.value.reason == "KafkaRefused"
    assert await kafka.topic(topic) is None


async def test_a_topic_grows_and_stays_the_same_one(kafka: KafkaAdmin, topic: str) -> None:
    topic_id = await made(kafka, topic, partitions=3)

    await kafka.add_partitions(topic, partitions=5)

    async def has_grown() -> bool:
        sight = await kafka.topic(topic)
        return sight is not None and (sight.id, sight.partitions) == (topic_id, 5)

    await eventually(has_grown, seconds_max=SECONDS_MAX)


@pytest.mark.parametrize("partitions", [2, 3])
async def test_a_topic_never_shrinks(kafka: KafkaAdmin, topic: str, partitions: int) -> None:
    await made(kafka, topic, partitions=3)

    with pytest.raises(RefusedError) as refused:
        await kafka.add_partitions(topic, partitions=partitions)

    assert refused.value.reason == "KafkaRefused"
    sight = await kafka.topic(topic)
    assert sight is not None
    assert sight.partitions == 3


async def test_settings_that_are_not_named_stay(kafka: KafkaAdmin, topic: str) -> None:
    await made(kafka, topic, config={"retention.ms": "1234", "cleanup.policy": "compact"})

    await kafka.set_config(topic, {"retention.ms": "5678"})

    async def is_set() -> bool:
        sight = await kafka.topic(topic)
        assert sight is not None
        assert sight.config["cleanup.policy"] == "compact"
        return sight.config["retention.ms"] == "5678"

    await eventually(is_set, seconds_max=SECONDS_MAX)


async def test_a_setting_that_the_broker_refuses_changes_nothing(kafka: KafkaAdmin, topic: str) -> None:
    await made(kafka, topic, config={"retention.ms": "1234"})

    with pytest.raises(RefusedError) as refused:
        await kafka.set_config(topic, {"cleanup.policy": "compact", "retention.ms": "long"})

    assert refused.value.reason == "KafkaRefused"
    sight = await kafka.topic(topic)
    assert sight is not None
    assert (sight.config["retention.ms"], sight.config["cleanup.policy"]) == ("1234", "delete")


async def test_a_deleted_topic_is_gone_and_deleting_it_again_is_fine(kafka: KafkaAdmin, topic: str) -> None:
    await made(kafka, topic)

    await kafka.delete_topic(topic)

    await eventually(lambda: _is_gone(kafka, topic), seconds_max=SECONDS_MAX)
    await kafka.delete_topic(topic)


async def test_a_topic_that_is_made_anew_has_another_id(kafka: KafkaAdmin, topic: str) -> None:
    first = await made(kafka, topic)
    await kafka.delete_topic(topic)
    await eventually(lambda: _is_gone(kafka, topic), seconds_max=SECONDS_MAX)

    assert await made(kafka, topic) != first


async def _is_gone(kafka: KafkaAdmin, topic: str) -> bool:
    return await kafka.topic(topic) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda kafka, topic: kafka.add_partitions(topic, partitions=9),
        lambda kafka, topic: kafka.set_config(topic, {"retention.ms": "1"}),
        lambda kafka, topic: kafka.records(topic, 1),
    ],
    ids=["grow", "configure", "count"],
)
async def test_a_topic_that_went_meanwhile_is_tried_again(
    kafka: KafkaAdmin, topic: str, change: Callable[[KafkaAdmin, str], Awaitable[object]]
) -> None:
    with pytest.raises(UnavailableError):
        await change(kafka, topic)


async def test_records_are_counted_over_all_partitions(cluster: Cluster, kafka: KafkaAdmin, topic: str) -> None:
    await made(kafka, topic, partitions=3)
    assert await kafka.records(topic, 3) == 0

    cluster.write_records(topic, 20)

    assert await kafka.records(topic, 3) == 20


async def test_a_group_is_told_of_while_it_reads_the_topic(cluster: Cluster, kafka: KafkaAdmin, topic: str) -> None:
    await made(kafka, topic)
    other = f"{topic}.other"
    await made(kafka, other)
    group = f"{topic}.readers"
    assert await kafka.active_groups(topic) == ()

    with contextmanager(cluster.reading)(topic, group):
        await eventually(lambda: _is_read_by(kafka, topic, (group,)), seconds_max=SECONDS_MAX)
        assert await kafka.active_groups(other) == ()

    await eventually(lambda: _is_read_by(kafka, topic, ()), seconds_max=SECONDS_MAX)


async def _is_read_by(kafka: KafkaAdmin, topic: str, groups: tuple[str, ...]) -> bool:
    return await kafka.active_groups(topic) == groups


async def test_kafkas_own_topics_are_told_apart(kafka: KafkaAdmin, topic: str) -> None:
    own = f"__{topic}"
    await made(kafka, own)

    sight = await kafka.topic(own)

    assert sight is not None
    assert sight.internal


async def test_behind_a_closed_fence_everything_is_read_and_nothing_written(
    cluster: Cluster, kafka: KafkaAdmin, topic: str
) -> None:
    topic_id = await made(kafka, topic, config={"retention.ms": "1234"})
    fenced = cluster.client(Fence())

    for write in (
        fenced.create_topic(f"{topic}.new", partitions=1, replicas=None, config={}),
        fenced.add_partitions(topic, partitions=9),
        fenced.set_config(topic, {"retention.ms": "1"}),
        fenced.delete_topic(topic),
    ):
        with pytest.raises(NotLeaderError):
            await write

    sight = await fenced.topic(topic)
    assert sight is not None
    assert (sight.id, sight.partitions, sight.config["retention.ms"]) == (topic_id, 3, "1234")
    assert await kafka.topic(f"{topic}.new") is None


async def test_a_broker_that_does_not_answer_is_said_to_be_unreachable(cluster: Cluster, topic: str) -> None:
    kafka = cluster.client_of_one_that_is_away()

    for call in (
        kafka.cluster(),
        kafka.topic(topic),
        kafka.records(topic, 1),
        kafka.active_groups(topic),
        kafka.create_topic(topic, partitions=1, replicas=None, config={}),
        kafka.delete_topic(topic),
    ):
        with pytest.raises(UnavailableError) as unavailable:
            await call
        assert unavailable.value.reason == "KafkaUnreachable"


@pytest.mark.part("kafka")
async def test_a_kafka_that_keeps_no_rights_is_told_from_one_that_does_not_answer(kafka_url: str) -> None:
    users = KafkaUsers(RealOne(kafka_url).client())
    right = Right(on="topic", name="orders", prefix=False, operation="Read")

    with pytest.raises(RefusedError, match=r"authorizer\.class\.name") as refused:
        await users.grant("somebody", (right,))

    assert refused.value.reason == "KafkaHasNoAuthorizer"
