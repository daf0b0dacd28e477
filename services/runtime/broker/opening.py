"""A broker by its URL."""

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.kafka_url import SCHEME
from services.runtime.broker.port import Broker
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.database_opening import sqlite_path
from services.runtime.errors import InvalidArgumentError
from services.runtime.url_parts import url_parts


def open_broker(url: str) -> Broker:
    """Open the broker that a URL names: `kafka://host:9092`, or `sqlite:////folder/file.db`.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or a malformed URL.
    """
    scheme = url_parts(url, "broker").scheme
    if scheme == SCHEME:
        return KafkaBroker(url)
    if scheme != "sqlite":
        raise InvalidArgumentError(
            f"a broker URL of scheme {scheme!r} isn't supported; supported: kafka://host:9092 and "
            "sqlite:////path/to/file.db",
            reason="broker_scheme_unsupported",
        )
    return SqliteBroker(sqlite_path(url, "broker"))
