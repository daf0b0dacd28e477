"""The real servers that everything is measured on: two durable MySQLs, Kafka and Redis."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.parts.home import parts_home
from tests.parts.opening import open_server
from tests.parts.sql_servers import sql_flags
from tests.support.real_parts import RealParts

FLAGS = {
    "ledger_mysql": ("mysql", sql_flags(durable=True, buffer_pool_mib=1024)),
    "orders_mysql": ("mysql", sql_flags(durable=True, buffer_pool_mib=1024)),
    "kafka": ("kafka", ()),
    "redis": ("redis", ()),
}
"""Commits and binary logs are on the disk before they are answered."""


@contextmanager
def measured_parts() -> Iterator[RealParts]:
    """Start servers of one's own with fresh folders, and forget them at the end."""
    servers = parts_home() / "servers"
    servers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=servers, prefix="bench-") as folder:
        opened = {name: open_server(part, Path(folder) / name, flags) for name, (part, flags) in FLAGS.items()}
        try:
            with ThreadPoolExecutor(max_workers=len(opened)) as threads:
                list(threads.map(lambda server: server.start(), opened.values()))
            yield RealParts(**opened, shared=True)
        finally:
            for server in opened.values():
                server.wipe()
