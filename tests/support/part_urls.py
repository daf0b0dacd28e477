"""Where the services find what they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.embedded.data_folder import DataFolder
from services.embedded.sqlite_url import sqlite_url


@dataclass(frozen=True, slots=True, kw_only=True)
class PartUrls:
    """Where the services find what they stand on."""

    ledger_database: str
    orders_database: str
    broker: str
    redis: str
    schema_registry: str | None = None

    @classmethod
    def embedded(cls, folder: DataFolder, redis_url: str, databases: Mapping[str, str]) -> "PartUrls":
        """Name the files of a data folder, but for the `databases` that are elsewhere."""
        return cls(
            ledger_database=databases.get("ledger", sqlite_url(folder.ledger_database)),
            orders_database=databases.get("orders", sqlite_url(folder.orders_database)),
            broker=sqlite_url(folder.broker_file),
            redis=redis_url,
        )
