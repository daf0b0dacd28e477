"""Servers that all faults of a file share, and that are killed, paused and restarted by them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.parts.plugin import run_of
from tests.parts.sql_servers import sql_flags
from tests.support.real_parts import RealParts

FLAGS: Final = {
    "ledger_mysql": ("mysql", sql_flags(durable=True, buffer_pool_mib=64)),
    "orders_mysql": ("mysql", sql_flags(durable=True, buffer_pool_mib=64)),
    "kafka": ("kafka", ()),
    "redis": ("redis", ()),
}
"""What is started: nothing that a service was told is durable may go with a kill."""


@pytest.fixture(scope="module")
def breakable_parts(request: pytest.FixtureRequest) -> Iterator[RealParts]:
    """Start a server of the file's own for everything; each test makes schemas and topics of its own there."""
    servers = {name: run_of(request.config).private(part, flags) for name, (part, flags) in FLAGS.items()}
    try:
        with ThreadPoolExecutor(max_workers=len(servers)) as threads:
            list(threads.map(lambda server: server.start(), servers.values()))
        yield RealParts(**servers, shared=True)
    finally:
        for server in servers.values():
            server.wipe()
