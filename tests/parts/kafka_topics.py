"""Topics of a test's own on a shared cluster."""

import time
from collections.abc import Sequence
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from services.runtime.broker.kafka_url import cluster_of

SECONDS_MAX = 20.0
"""A busy machine makes topics within this."""


def own_topics(url: str) -> str:
    """Name a cluster on which nobody else sees the test's topics and groups: a prefix of its own begins them."""
    return f"{url}{'&' if '?' in url else '?'}topic_prefix={uuid4().hex[:12]}."


def make_topics(url: str, topics: Sequence[str], *, partitions: int = 1) -> None:
    """Make topics and wait until each broker of the cluster knows them: metadata spreads after the answer."""
    cluster = cluster_of(url)
    client = AdminClient({**cluster.config})
    names = [cluster.full(topic) for topic in topics]
    futures = client.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names])
    for future in futures.values():
        future.result(SECONDS_MAX)
    _wait_until_ready(client, names, partitions)


def add_partitions(url: str, topic: str, *, partitions: int) -> None:
    """Give a topic more partitions, and wait until they are there."""
    cluster = cluster_of(url)
    client = AdminClient({**cluster.config})
    name = cluster.full(topic)
    for future in client.create_partitions([NewPartitions(name, partitions)]).values():
        future.result(SECONDS_MAX)
    _wait_until_ready(client, [name], partitions)


def delete_topics(url: str, topics: Sequence[str]) -> None:
    """Delete topics and wait until the cluster knows them no more."""
    cluster = cluster_of(url)
    client = AdminClient({**cluster.config})
    names = [cluster.full(topic) for topic in topics]
    for future in client.delete_topics(names).values():
        future.result(SECONDS_MAX)
    until = time.monotonic() + SECONDS_MAX
    while any(client.list_topics(name, timeout=SECONDS_MAX).topics[name].error is None for name in names):
        if time.monotonic() > until:
            raise TimeoutError(f"the cluster still shows {names}")
        time.sleep(0.05)


def _wait_until_ready(client: AdminClient, names: Sequence[str], partitions: int) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not all(_is_ready(client, name, partitions) for name in names):
        if time.monotonic() > until:
            raise TimeoutError(f"the cluster doesn't show {names}")
        time.sleep(0.05)


def _is_ready(client: AdminClient, name: str, partitions: int) -> bool:
    try:
        topic = client.list_topics(name, timeout=SECONDS_MAX).topics[name]
    except KafkaException:
        return False
    return topic.error is None and sum(part.leader >= 0 for part in topic.partitions.values()) == partitions
