"""A broker by its URL."""

from urllib.parse import urlsplit

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.kafka_url import SCHEME
from services.runtime.broker.port import Broker
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.database_opening import sqlite_path


def open_broker(url: str) -> Broker:
    """Open the broker that a URL names: `kafka://host:9092`, or `sqlite:////folder/file.db`.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or a malformed URL.
    """
    if urlsplit(url).scheme == SCHEME:
        return KafkaBroker(url)
    return SqliteBroker(sqlite_path(url, "broker"))
