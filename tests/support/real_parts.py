"""The real servers that a platform stands on: those that the whole run shares, or a test's own."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from uuid import uuid4

import pytest
import redis

from services.gateway.inbound.wallet_events import TOPIC
from services.ledger.outbound.event_contract import WALLET_EVENTS
from services.ledger.wiring import TOPICS
from services.orders.outbound.event_contract import ORDER_EVENTS
from services.runtime.broker.kafka_url import KafkaCluster, cluster_of
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX
from services.runtime.registry.client import RegistryClient
from services.runtime.registry.registration import SubjectState, register_subjects, subjects_of
from tests.parts.kafka_topics import make_topics
from tests.parts.server import Server
from tests.parts.sql_servers import administrator, fresh_schema
from tests.support.part_urls import PartUrls

REAL_PARTS = [pytest.mark.part(name) for name in ("mysql", "kafka", "redis", "registry")]
"""The marks of a test on the real platform."""

PARTITIONS = 3
"""Of each topic of events: what has one key keeps its order, and nothing else does."""

SCHEMA = "tradeflow"
"""On a server of a test's own."""

_REDIS_DATABASES = itertools.cycle(range(1, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class RealParts:
    """Two databases, a broker, what may be lost, and who knows the schemas of events, where there is somebody.

    `shared` ones are used by others too, and stay tidy.
    """

    ledger_mysql: Server
    orders_mysql: Server
    kafka: Server
    redis: Server
    registry: Server | None = None
    shared: bool

    @contextmanager
    def prepared(self) -> Iterator[PartUrls]:
        """Make an empty schema for each service and topics under a prefix of their own, and empty Redis."""
        with self._schema(self.ledger_mysql) as ledger, self._schema(self.orders_mysql) as orders:
            urls = PartUrls(
                ledger_database=ledger,
                orders_database=orders,
                broker=f"{self.kafka.url}?topic_prefix={uuid4().hex[:12]}.",
                redis=_next_redis(self.redis.url),
                schema_registry=None if self.registry is None else self.registry.url,
            )
            make_platform_topics(urls.broker)
            register_schemas(urls)
            client = redis.Redis.from_url(urls.redis)
            client.flushdb()
            client.close()
            yield urls

    def _schema(self, server: Server) -> AbstractContextManager[str]:
        """Make a schema. A test's own server may be dead when the test ends, and is wiped: nothing is dropped there."""
        return fresh_schema(server.url) if self.shared else nullcontext(_made_schema(server.url))


def _made_schema(server_url: str) -> str:
    with closing(administrator(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {SCHEMA}")
    return f"{server_url}{SCHEMA}"


def _next_redis(url: str) -> str:
    """Name the next of the 16 databases that a Redis has: two platforms at once don't share one."""
    return f"{url.rpartition('/')[0]}/{next(_REDIS_DATABASES)}"


def make_platform_topics(broker_url: str) -> None:
    """Make the topics of events and of dead letters, as the operator does."""
    events = {topic for topic in (*TOPICS, TOPIC) if not topic.endswith(DEAD_LETTERS_SUFFIX)}
    make_topics(broker_url, sorted(events), partitions=PARTITIONS)
    make_topics(broker_url, sorted(f"{topic}{DEAD_LETTERS_SUFFIX}" for topic in events))


def register_schemas(urls: PartUrls) -> None:
    """Tell the registry what events look like, as `tradeflow schemas register` does."""
    if urls.schema_registry is not None:
        # In a thread: this one may have an event loop that runs.
        with ThreadPoolExecutor(max_workers=1) as thread:
            states = thread.submit(asyncio.run, _registered(urls.schema_registry, cluster_of(urls.broker))).result()
        assert states <= {SubjectState.CURRENT, SubjectState.REGISTERED}


async def _registered(registry_url: str, cluster: KafkaCluster) -> set[SubjectState]:
    subjects = subjects_of((ORDER_EVENTS, WALLET_EVENTS), outer_name=cluster.full)
    client = RegistryClient(registry_url)
    try:
        return {report.state async for report in register_subjects(client, subjects)}
    finally:
        await client.close()


def started_private_parts(private_server: Callable[..., Server]) -> RealParts:
    """Start a server of the test's own for everything but schemas, all at once."""
    parts = {
        "ledger_mysql": private_server("mysql"),
        "orders_mysql": private_server("mysql"),
        "kafka": private_server("kafka", ()),
        "redis": private_server("redis", ()),
    }
    with ThreadPoolExecutor(max_workers=len(parts)) as threads:
        list(threads.map(lambda server: server.start(), parts.values()))
    return RealParts(**parts, shared=False)
