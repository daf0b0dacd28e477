"""What is left behind after faults on real servers: backlogs, dead letters, and what the services complained of."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from services.ledger.inbound.order_events import GROUP as LEDGER_GROUP
from services.ledger.inbound.order_events import ORDER_EVENTS
from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC
from services.orders.domain.discrepancy import DiscrepancyKind
from services.orders.inbound.wallet_events import CONSUMER_GROUP as ORDERS_GROUP
from services.orders.outbound.order_events import ORDERS_STREAM
from services.runtime.broker.kafka_url import KafkaCluster, cluster_of
from services.runtime.broker.port import DEAD_LETTERS_SUFFIX
from tests.parts.sql_servers import administrator
from tests.support.part_urls import PartUrls

BOOK_ID = 1
"""Of these platforms."""

SECONDS_MAX = 60.0
"""For a question to Kafka."""

GRPC_NOTE = re.compile(r"[IW]\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\] ")
"""How notes and warnings of gRPC's C core begin, which go past the log: a peer that hung for long, for one."""

ERROR_LEVELS = frozenset({"error", "critical"})
"""What a service logs of itself when something happened that nobody foresaw."""

DISCREPANCY = "order_discrepancy"
"""What orders logs where an order and its hold disagree; a late event is the cause of those that it heals by itself."""

# How many events of a stream aren't published.
_UNPUBLISHED = """
    SELECT COALESCE(MAX(sequence), 0) - COALESCE((SELECT cursor_sequence FROM outbox_relays WHERE stream = %s), 0)
    FROM outbox WHERE stream = %s
"""

# The number of a wallet's newest event.
_NEWEST_EVENT = """
    SELECT MAX(b.event_sequence)
    FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
    WHERE a.book_id = %s AND a.wallet_id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits, in events and messages, by who has to do something about it."""

    waiting: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        return not any(self.waiting.values())


def backlog_of(urls: PartUrls) -> Backlog:
    """Count what isn't published and what isn't consumed."""
    cluster = cluster_of(urls.broker)
    return Backlog(
        waiting={
            **unpublished_of(urls),
            "ledger to consume": _unconsumed(cluster, LEDGER_GROUP, ORDER_EVENTS),
            "orders to consume": _unconsumed(cluster, ORDERS_GROUP, WALLET_EVENTS_TOPIC),
        }
    )


def unpublished_of(urls: PartUrls) -> dict[str, int]:
    """Count the events in both outboxes that aren't published."""
    return {
        "orders to publish": _unpublished(urls.orders_database, ORDERS_STREAM),
        "ledger to publish": _unpublished(urls.ledger_database, stream_of(BOOK_ID)),
    }


def newest_event_of(urls: PartUrls, wallet_id: UUID) -> int:
    """Tell the number of a wallet's newest event, 0 for none."""
    return _number(urls.ledger_database, _NEWEST_EVENT, (BOOK_ID, wallet_id.bytes))


def dead_letters_of(urls: PartUrls) -> int:
    """Count what was put aside."""
    cluster = cluster_of(urls.broker)
    topics = [f"{topic}{DEAD_LETTERS_SUFFIX}" for topic in (ORDER_EVENTS, WALLET_EVENTS_TOPIC)]
    return sum(end for topic in topics for end in _ends(cluster, "dead-letters", topic).values())


def complaints_in(errors_files: Sequence[Path], foreseen: Mapping[str, str]) -> list[str]:
    """Return the lines that tell of something wrong, and what isn't a line of the log at all.

    Args:
        errors_files: What the services wrote.
        foreseen: Events that are errors and no fault of the services, by logger and how they begin.
    """
    lines = [line for file in errors_files for line in file.read_text().splitlines()]
    return [line for line in lines if _is_complaint(line, foreseen)]


def _is_complaint(line: str, foreseen: Mapping[str, str]) -> bool:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return GRPC_NOTE.match(line) is None
    if entry.get("event") == DISCREPANCY and not DiscrepancyKind(entry["kind"]).heals:
        return True
    if entry.get("level") not in ERROR_LEVELS:
        return False
    return not any(
        entry.get("logger") == logger and str(entry.get("event", "")).startswith(event)
        for logger, event in foreseen.items()
    )


def _unpublished(database_url: str, stream: str) -> int:
    return _number(database_url, _UNPUBLISHED, (stream.encode(), stream.encode()))


def _number(database_url: str, statement: str, arguments: Sequence[object]) -> int:
    with closing(administrator(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def _unconsumed(cluster: KafkaCluster, group: str, topic: str) -> int:
    ends = _ends(cluster, group, topic)
    committed = _committed(cluster, group, topic, list(ends))
    return sum(end - max(committed[partition], 0) for partition, end in ends.items())


def _ends(cluster: KafkaCluster, group: str, topic: str) -> dict[int, int]:
    name = cluster.full(topic)
    partitions = AdminClient({**cluster.config}).list_topics(name, timeout=SECONDS_MAX).topics[name].partitions
    consumer = Consumer({**cluster.config, "group.id": cluster.full(group)})
    try:
        ends: dict[int, int] = {}
        for partition in partitions:
            marks = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=SECONDS_MAX)
            assert marks is not None, f"nobody tells where {name} ends"
            ends[partition] = marks[1]
        return ends
    finally:
        consumer.close()


def _committed(cluster: KafkaCluster, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    consumer = Consumer({**cluster.config, "group.id": cluster.full(group)})
    try:
        asked = [TopicPartition(cluster.full(topic), partition) for partition in partitions]
        return {place.partition: place.offset for place in consumer.committed(asked, timeout=SECONDS_MAX)}
    finally:
        consumer.close()
