"""A broker by its URL."""

from services.runtime.broker.port import Broker
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.database.opening import sqlite_path


def open_broker(url: str) -> Broker:
    """Open the broker that a URL names: `sqlite:////folder/file.db`.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or no file.
    """
    return SqliteBroker(sqlite_path(url, "broker"))
