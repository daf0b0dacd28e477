"""A broker by its URL."""

from collections.abc import Sequence

import structlog

from services.runtime.broker.kafka import KafkaBroker
from services.runtime.broker.kafka_url import SCHEME, cluster_of
from services.runtime.broker.port import Broker
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.database_opening import sqlite_path
from services.runtime.errors import InvalidArgumentError, UnavailableError
from services.runtime.url_parts import url_parts

logger = structlog.get_logger(__name__)


def open_broker(url: str) -> Broker:
    """Open the broker that a URL names: `kafka://host:9092`, or `sqlite:////folder/file.db`.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or a malformed URL.
    """
    check_broker_url(url)
    if url_parts(url, "broker").scheme == SCHEME:
        return KafkaBroker(url)
    return SqliteBroker(sqlite_path(url, "broker"))


async def require_topics(broker: Broker, topics: Sequence[str]) -> None:
    """Make sure that there are the topics that a service needs, as far as the broker can be asked now.

    A service begins without its broker as it goes on without it: what reads and publishes asks again by itself.

    Raises:
        NotFoundError: The broker has no such topic (`topic_missing`).
    """
    try:
        await broker.ensure_topics(topics)
    except UnavailableError as error:
        logger.warning("begun_without_broker", reason=error.reason, error=error.message)


def check_broker_url(url: str) -> None:
    """Read a broker's URL, and open nothing.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or a malformed URL.
    """
    scheme = url_parts(url, "broker").scheme
    if scheme == SCHEME:
        cluster_of(url)
    elif scheme == "sqlite":
        sqlite_path(url, "broker")
    else:
        raise InvalidArgumentError(
            f"a broker URL of scheme {scheme!r} isn't supported; supported: kafka://host:9092 and "
            "sqlite:////path/to/file.db",
            reason="broker_scheme_unsupported",
        )
