"""The ledger on real, durable MySQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database


@asynccontextmanager
async def ledger_database(url: str, options: str = "") -> AsyncIterator[Database]:
    """Open a database as a ledger does, with the ledger's tables in it."""
    database = open_database(f"{url}?{options}")
    try:
        await migrate(database, "services.ledger.migrations")
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(durable_mysql_url: str) -> AsyncIterator[Database]:
    """Open one with empty tables of the ledger."""
    async with ledger_database(durable_mysql_url) as database:
        yield database
